"""What this chain is called among peers.

What lives here: one function. What must never live here: a topic; `p2p/topics.py` has them.
"""

from consensus.genesis import Genesis
from p2p.exchange.status import Chain


def wire_chain(genesis: Genesis) -> Chain:
    """Chain id, fork id as a number, genesis hash: what two nodes must share to talk."""
    fork = genesis.forks.fork_id(genesis.hash)
    return Chain(genesis.chain_id, int.from_bytes(fork, "big"), genesis.hash)
