// The same order signed with ethers and with viem, sent to a node. usage: node order.mjs URL KEY
// Prints one JSON object: whether the signatures agree, and the node's two answers.
import { Wallet } from 'ethers'
import { privateKeyToAccount } from 'viem/accounts'

const [url, key] = process.argv.slice(2)

async function call (method, params) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const headers = { 'content-type': 'application/json' }
  return (await fetch(url, { method: 'POST', headers, body })).json()
}

const types = {
  Commands: [
    { name: 'owner', type: 'address' },
    { name: 'nonce', type: 'uint64' },
    { name: 'expires', type: 'uint64' },
    { name: 'operations', type: 'Operation[]' }
  ],
  Operation: [
    { name: 'action', type: 'string' },
    { name: 'market', type: 'string' },
    { name: 'side', type: 'string' },
    { name: 'price', type: 'uint64' },
    { name: 'quantity', type: 'uint64' },
    { name: 'terms', type: 'string' },
    { name: 'row1', type: 'bytes32' },
    { name: 'row2', type: 'bytes32' }
  ]
}

// The row: eight 64-bit words, little-endian (docs/protocol/commands.md). Buy is side 0, gtc is 0.
function placeRow (market, client, price, lots) {
  const row = new DataView(new ArrayBuffer(64))
  const words = [1n | BigInt(market) << 32n, BigInt(client), BigInt(price), BigInt(lots)]
  words.forEach((word, n) => row.setBigInt64(8 * n, word, true))
  return Buffer.from(row.buffer).toString('hex')
}

const ethersWallet = new Wallet(key)
const viemAccount = privateKeyToAccount(key)
const owner = ethersWallet.address.toLowerCase()
const { result: status } = await call('chain_status', {})
const { result: account } = await call('clob_account', { account: owner })
const domain = {
  name: 'Rialto',
  version: '1',
  chainId: status.chain_id,
  verifyingContract: status.contract,
  salt: status.genesis_hash
}

const price = 6499000
const lots = 10000
const answers = []
let agree = true
for (const client of [200, 201]) {
  const row = placeRow(0, client, price, lots)
  const message = {
    owner,
    nonce: BigInt(account.nonce + client - 199),
    expires: BigInt(status.time + 60000),
    operations: [{
      action: 'place limit order',
      market: 'BTC-USD',
      side: 'buy',
      price: BigInt(price),
      quantity: BigInt(lots),
      terms: `good till cancelled, client id ${client}`,
      row1: '0x' + row.slice(0, 64),
      row2: '0x' + row.slice(64)
    }]
  }
  const byEthers = await ethersWallet.signTypedData(domain, types, message)
  const byViem = await viemAccount.signTypedData({
    domain, types, primaryType: 'Commands', message
  })
  agree = agree && byEthers === byViem
  const answer = await call('clob_submit', {
    signature: client === 200 ? byEthers : byViem,
    account: account.account,
    nonce: String(message.nonce),
    expires: String(message.expires),
    signer: owner,
    operations: [{ op: 'place', market: 'BTC-USD', side: 'buy', price, lots, client }],
    events: true
  })
  answers.push(answer.error ?? answer.result.events.map((event) => event.event))
}
console.log(JSON.stringify({ agree, answers }))
