// One order, signed by a wallet library as typed data and sent to a node.
//
//     node order.mjs LIBRARY URL PRIVATE_KEY SIDE PRICE LOTS
//
// What lives here: the steps, the same for both libraries. `wallet.request(method, params)` and
// `wallet.sign(typedData)` are the library's. Prints one JSON line.

const [library, url, key, side, price, lots] = process.argv.slice(2);
const { connect } = await import(`./${library}.mjs`);
const wallet = await connect(url, key);

const status = await wallet.request("chain_status");
const account = await wallet.request("clob_account", { account: wallet.address });
const order = { op: "place", market: "BTC-USD", side, price: Number(price), lots, client: 1 };
const command = {
  account: account.account,
  nonce: account.nonce + 1,
  expires: status.time + 600_000, // ms of the chain's clock
  signer: wallet.address,
  operations: [order],
};
// The node renders the words; the wallet shows them, and signs these words and the row below them.
const { group, typed_data } = await wallet.request("clob_digest", command);
const signature = await wallet.sign(typed_data);
const answer = await wallet.request("clob_submit", { group, signature, events: true });

let refused = null;
try {
  await wallet.request("clob_submit", { group, signature });
} catch (error) {
  refused = wallet.code(error);
}
const fills = await wallet.request("clob_fills", { account: wallet.address });
const open = await wallet.request("clob_openOrders", { account: wallet.address });
const shown = typed_data.message.operations[0];
const block = await wallet.block();
console.log(JSON.stringify({ chain: wallet.chain, shown, answer, refused, fills, open, block }));
wallet.end();
