"""What the attacks are made with: a victim's process, and a libp2p host without manners."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr
from networks import CHAIN

from p2p.topics import ORDERS, Names

HERE: Final = Path(__file__).resolve().parent
MESHSUB: Final = TProtocol("/meshsub/1.1.0")
NAMES: Final = Names(CHAIN.chain, CHAIN.fork)
TOPIC: Final = NAMES.topic(ORDERS)


class Victim:
    """The running process; `state` is what it printed last."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        self.address: str = json.loads(process.stdout.readline())["address"]
        self.state: dict[str, Any] = json.loads(process.stdout.readline())
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.state = json.loads(line)

    def count(self, name: str) -> int:
        return int(self.state["counters"].get(name, 0))

    @property
    def info(self) -> PeerInfo:
        return info_from_p2p_addr(Multiaddr(self.address))

    @property
    def port(self) -> int:
        return int(Multiaddr(self.address).value_for_protocol("tcp"))


@contextmanager
def running_victim(*arguments: str) -> Iterator[Victim]:
    """A victim for at most two minutes; it must still run when the attack is over."""
    command = [sys.executable, str(HERE / "victim.py"), "120", *arguments]
    environment = dict(os.environ, PYTHONPATH=str(HERE.parents[1]))
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        yield Victim(process)
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def evil_host(
    victim: Victim, keys: KeyPair | None = None, plaintext: bool = False
) -> AsyncIterator[tuple[IHost, KeyPair]]:
    """A libp2p host of a stranger, that swallows what it is sent; connected, if it has noise."""
    keys = keys or create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    insecure = {TProtocol(PLAINTEXT_PROTOCOL_ID): InsecureTransport(keys)}
    host = new_host(
        key_pair=keys,
        sec_opt=insecure if plaintext else {NOISE: noise},
        muxer_opt={TProtocol(YAMUX): Yamux},
    )
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        host.set_stream_handler(MESHSUB, swallow)
        if not plaintext:
            await host.connect(victim.info)
        try:
            yield host, keys
        finally:
            await host.close()


async def swallow(stream: INetStream) -> None:
    while await stream.read(1 << 16):
        pass


def rpc(**fields: Any) -> bytes:
    return encode_varint_prefixed(rpc_pb2.RPC(**fields).SerializeToString())


def signed(keys: KeyPair, data: bytes, topic: str = TOPIC) -> rpc_pb2.Message:
    message = rpc_pb2.Message(
        data=data,
        topicIDs=[topic],
        from_id=ID.from_pubkey(keys.public_key).to_bytes(),
        seqno=os.urandom(8),
    )
    prefixed = PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString()
    message.signature = keys.private_key.sign(prefixed)
    return message
