// A js-libp2p peer of Rialto, written from docs/protocol/network.md.
//
//   node --import ./polyfill.mjs peer.mjs ADDRESS CHAIN FORK GENESIS_HASH
//
// Takes one JSON command a line on standard input, prints one JSON event a line.
import { createInterface } from 'node:readline'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@libp2p/noise'
import { yamux } from '@libp2p/yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { multiaddr } from '@multiformats/multiaddr'

const [address, chain, fork, genesis] = process.argv.slice(2)
const prefix = `/rialto/${chain}/${fork}`
const blocks = `${prefix}/blocks/1`
const CHUNK = 1, END = 2, REFUSAL = 3

const print = event => console.log(JSON.stringify(event))

const node = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({ allowPublishToZeroTopicPeers: true, emitSelf: false })
  }
})

function status () {
  const data = Buffer.alloc(93)
  data.writeUInt8(1, 0)
  data.writeBigUInt64LE(BigInt(chain), 1)
  data.writeUInt32LE(Number(fork), 9)
  Buffer.from(genesis, 'hex').copy(data, 13)
  data.writeBigUInt64LE(7n, 45) // height
  data.fill(0x22, 53, 85) // block hash
  data.writeBigUInt64LE(6n, 85) // certified height
  return data
}

function frame (body) {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(body.length)
  return Buffer.concat([head, body])
}

function kindFrame (kind, body) {
  return Buffer.concat([Buffer.from([kind]), frame(body)])
}

async function readRequest (stream) {
  let data = Buffer.alloc(0)
  for await (const piece of stream) {
    data = Buffer.concat([data, piece.subarray()])
    if (data.length >= 4 && data.length >= 4 + data.readUInt32LE(0)) break
  }
  return data.subarray(4, 4 + data.readUInt32LE(0))
}

async function readAnswer (stream) {
  const chunks = []
  let data = Buffer.alloc(0)
  for await (const piece of stream) {
    data = Buffer.concat([data, piece.subarray()])
    while (data.length >= 5 && data.length >= 5 + data.readUInt32LE(1)) {
      const kind = data[0]
      const body = data.subarray(5, 5 + data.readUInt32LE(1))
      data = data.subarray(5 + body.length)
      if (kind === END) return { chunks }
      if (kind === REFUSAL) return { chunks, refused: body.readUInt16LE(0), reason: body.subarray(2).toString() }
      if (kind !== CHUNK) throw new Error(`frame of kind ${kind}`)
      chunks.push(body.toString())
    }
  }
  throw new Error('the answer was cut off')
}

await node.handle('/rialto/status/1', async stream => {
  await readRequest(stream)
  stream.send(Buffer.concat([kindFrame(CHUNK, status()), kindFrame(END, Buffer.alloc(0))]))
  await stream.close()
})
await node.handle('/rialto/goodbye/1', async stream => {
  const request = await readRequest(stream)
  print({ goodbye: request.subarray(2).toString() })
  stream.send(kindFrame(END, Buffer.alloc(0)))
  await stream.close()
})
node.services.pubsub.addEventListener('message', event => {
  const data = Buffer.from(event.detail.data)
  print({ heard: data.subarray(0, 20).toString(), bytes: data.length })
})
node.addEventListener('connection:close', () => print({ closed: true }))
node.services.pubsub.subscribe(blocks)

const connection = await node.dial(multiaddr(address))
print({ connected: node.peerId.toString(), multiplexer: connection.multiplexer, encryption: connection.encryption })

async function ask (protocol, request) {
  const stream = await connection.newStream(protocol)
  stream.send(frame(request))
  return await readAnswer(stream)
}

const commands = {
  async publish ({ text, bytes }) {
    const data = Buffer.alloc(bytes ?? text.length)
    data.write(text)
    const sent = await node.services.pubsub.publish(blocks, data)
    print({ published: text, recipients: sent.recipients.length })
  },
  async range ({ first, count }) {
    const request = Buffer.alloc(10)
    request.writeBigUInt64LE(BigInt(first), 0)
    request.writeUInt16LE(count, 8)
    print({ range: await ask(`${prefix}/blocks-by-range/1`, request) })
  },
  async status () {
    const found = await ask('/rialto/status/1', status())
    print({ status: found.chunks.length })
  },
  async garbage () {
    // On the stream that gossipsub opened: a second one of a peer is reset unread.
    const ours = one => one.direction === 'outbound' && one.protocol.startsWith('/meshsub/')
    const stream = connection.streams.find(ours)
    stream.send(Buffer.concat([Buffer.from([50]), Buffer.alloc(50, 0xff)]))
    print({ garbage: true })
  }
}
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  try {
    await commands[command.do](command)
  } catch (error) {
    print({ failed: command.do, error: String(error) })
  }
}
process.exit(0)
