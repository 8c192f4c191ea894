"""GossipSub's mesh, with bounded memory and encoded queues.

What lives here: what libp2p 0.8.1's router does too much or without a bound. What must never live
here: the checks of messages; those are in `gossip.py`.

- `publish` encodes a message once for all neighbours, without a signed peer record on each, and
  keeps no list of delivery times, equivocations or messages of peers not yet known.
- A neighbour that joins gets the recent messages through its queue; upstream writes them to the
  stream from a second task, which can split a frame that the first is writing.
- Control that does not concern our topics is cut away before upstream sees it: it would remember
  every topic a peer names.
"""

import time
from collections.abc import Container
from typing import Final

from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2

from .outbox import Outbox
from .topics import RPC_BYTES_MAX
from .transport import Observer

MESHSUB: Final = TProtocol("/meshsub/1.1.0")  # 1.2 doubles the cost; js speaks 1.0 to 1.2
HEARTBEAT_S: Final = 1
DEGREE: Final = 6
DEGREE_LOW: Final = 4
DEGREE_HIGH: Final = 12
WINDOW_HEARTBEATS: Final = 3  # of messages that are offered to others
HISTORY_HEARTBEATS: Final = 5  # of messages that can be asked for

CONTROL_IDS_MAX: Final = 1000  # in one RPC, of all kinds
MESSAGE_ID_BYTES_MAX: Final = 64
WANTED_IDS_MAX: Final = 64  # messages of one RPC that are sent again
BACKOFF_S_MAX: Final = 600


class MeshRouter(GossipSub):
    """`outboxes` are the queues of `GossipPubsub`, by peer."""

    def __init__(self, observer: Observer, outboxes: dict[ID, Outbox]) -> None:
        super().__init__(
            [MESHSUB],
            DEGREE,
            DEGREE_LOW,
            DEGREE_HIGH,
            gossip_window=WINDOW_HEARTBEATS,
            gossip_history=HISTORY_HEARTBEATS,
            heartbeat_interval=HEARTBEAT_S,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
        )
        self._observer = observer
        self._outboxes = outboxes

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Hand a valid message on to the mesh."""
        self.mcache.put(pubsub_msg)
        encoded = rpc_pb2.RPC(publish=[pubsub_msg]).SerializeToString()
        origin = ID(pubsub_msg.from_id)
        for peer in self._get_peers_to_send(pubsub_msg.topicIDs, msg_forwarder, origin):
            self._push(peer, encoded)
        for topic in pubsub_msg.topicIDs:
            self.time_since_last_publish[topic] = int(time.time())  # what its heartbeat compares

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        for message_id in self.mcache.window(topic):
            message = self.mcache.get(message_id)
            if message is not None and ID(message.from_id) != peer_id:
                self._push(peer_id, rpc_pb2.RPC(publish=[message]).SerializeToString())

    async def flush_pending_messages(self, peer_id: ID) -> None:
        """Nothing is kept for peers that are not known yet; see send_recent_messages."""

    async def emit_control_message(self, control_msg: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        """Queue an RPC; the messages of one are queued one by one, since all may be too long."""
        for message in rpc.publish:
            self._push(peer_id, rpc_pb2.RPC(publish=[message]).SerializeToString())
        if rpc.HasField("control"):
            encoded = rpc_pb2.RPC(control=rpc.control).SerializeToString()
            self._push(peer_id, encoded, control=True)

    def _push(self, peer: ID, encoded: bytes, control: bool = False) -> None:
        outbox = self._outboxes.get(peer)
        if outbox is None or len(encoded) > RPC_BYTES_MAX:
            return
        self._observer.count("gossip_outbox_dropped", outbox.push(encoded, control))


def relevant(control: rpc_pb2.ControlMessage, topics: Container[str]) -> rpc_pb2.ControlMessage:
    """What of a control message concerns our topics, without peer exchange and extensions."""
    kept = rpc_pb2.ControlMessage()
    kept.ihave.extend(one for one in control.ihave if one.topicID in topics)
    wanted = dict.fromkeys(one for listing in control.iwant for one in listing.messageIDs)
    if wanted:
        kept.iwant.add(messageIDs=list(wanted)[:WANTED_IDS_MAX])
    kept.graft.extend(one for one in control.graft if one.topicID in topics)
    for prune in control.prune:
        if prune.topicID in topics:
            backoff = min(prune.backoff, BACKOFF_S_MAX)
            kept.prune.append(rpc_pb2.ControlPrune(topicID=prune.topicID, backoff=backoff))
    return kept


def cost(rpc: rpc_pb2.RPC) -> int:
    """What an RPC without its messages makes us do, for a rate: a new subscription replays the
    last messages, and each wanted id may be a block."""
    wanted = sum(len(listing.messageIDs) for listing in rpc.control.iwant)
    return 1 + 10 * len(rpc.subscriptions) + min(wanted, WANTED_IDS_MAX)


def is_excessive(control: rpc_pb2.ControlMessage) -> bool:
    """Whether a control message has more or longer entries than any use of it."""
    ids = [one for offered in control.ihave for one in offered.messageIDs]
    ids += [one for wanted in control.iwant for one in wanted.messageIDs]
    entries = len(control.graft) + len(control.prune) + len(control.idontwant)
    entries += len(control.ihave) + len(control.iwant)
    too_long = any(len(one) > MESSAGE_ID_BYTES_MAX for one in ids)
    return too_long or len(ids) + entries > CONTROL_IDS_MAX
