"""Bytes in flight: gossip, requests and order streams between nodes, over libp2p or in memory.

What lives here: how bytes reach another node, and what a peer pays for bad ones. What must never
live here: what the bytes mean (blocks, votes and batches are opaque payloads of `consensus` and
`node`), and bytes at rest. Start with `network.py`, the one protocol that `node` sees.
"""
