// viem: connect, sign typed data, read a block.
import { createPublicClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";

export async function connect(url, key) {
  const account = privateKeyToAccount(key);
  const client = createPublicClient({ transport: http(url, { retryCount: 0 }) });
  return {
    address: account.address,
    chain: await client.getChainId(),
    request: (method, params) => client.request({ method, params: params ? [params] : [] }),
    sign: (typed) => account.signTypedData(typed),
    block: async () => Number((await client.getBlock()).number),
    code: (error) => error.code ?? error.cause?.code,
    end: () => {},
  };
}
