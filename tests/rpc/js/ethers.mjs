// ethers v6: connect, sign typed data, read a block.
import { JsonRpcProvider, Wallet } from "ethers";

export async function connect(url, key) {
  const provider = new JsonRpcProvider(url);
  const wallet = new Wallet(key, provider);
  const network = await provider.getNetwork();
  return {
    address: wallet.address,
    chain: Number(network.chainId),
    request: (method, params) => provider.send(method, params ? [params] : []),
    sign({ domain, types: { EIP712Domain, ...types }, message }) {
      return wallet.signTypedData(domain, types, message); // ethers derives the domain's type
    },
    block: async () => (await provider.getBlock("latest")).number,
    code: (error) => error.error.code,
    end: () => provider.destroy(),
  };
}
