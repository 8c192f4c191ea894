"""secp256k1 signatures in their one canonical form, and the addresses behind them.

What lives here: signing, recovery, the wallet's spellings of a signature, addresses as bytes and as
state words. What must never live here: what was signed (see `typed_data`), and whether the address
may act (the state decides; a recovered address proves nothing until it equals a stored one).

Theory. ECDSA is malleable: with (r, s, v) the twin (r, n - s, 1 - v) verifies for the same key and
digest. libsecp256k1's recovery accepts both, so a stranger could give an order a second signature
and a second hash. Only s <= n/2 is accepted here (EIP-2, BIP-62 rule 5), v is 0 or 1, and 65 bytes
are the only length, so nobody but the holder of the key can make a second signature. The holder
still can, with another nonce point: a signature is never an identity, the command's nonce is.
Wallets write v as 27 or 28, or fold it into s (EIP-2098); `from_wallet` maps those at the RPC edge,
never later.

Points with an x coordinate of n or more (v = 2 or 3) are one in 2^127 and are refused.

`recover_many` leaves the interpreter lock once for all of its signatures (`recovery.c`): callers
may spread chunks over threads. Without that module, in a pure build, it recovers one by one.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from coincurve import PrivateKey, PublicKey
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from consensus.exceptions import InvalidSignature
from consensus.keccak import keccak256

try:
    from consensus import recovery
except ImportError:  # RIALTO_PURE=1: nothing is compiled
    recover_points = None
else:
    recover_points = recovery.recover_points

SIGNATURE_LENGTH: Final = 2001
RECOVERY_ID: Final = 2002
R_RANGE: Final = 2003
S_RANGE: Final = 2004
HIGH_S: Final = 2005
NOT_RECOVERABLE: Final = 2006
ZERO_ADDRESS: Final = 2007
DIGEST_LENGTH: Final = 2008
PRIVATE_KEY: Final = 2009
PUBLIC_KEY: Final = 2010
ADDRESS_LENGTH: Final = 2011
ADDRESS_WORD_RANGE: Final = 2012

SIGNATURE_BYTES: Final = 65
"""r (32, big-endian), s (32, big-endian), v (1)."""
COMPACT_BYTES: Final = 64
"""EIP-2098: r, then s with v in its highest bit."""
ADDRESS_BYTES: Final = 20
DIGEST_BYTES: Final = 32
PRIVATE_KEY_BYTES: Final = 32
PRIVATE_KEYS_KEPT: Final = 16
"""With their public points, which cost a third of a signature to compute."""

MASK_56: Final = (1 << 56) - 1
MASK_48: Final = (1 << 48) - 1

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""n, the order of secp256k1 (SEC 2, section 2.4.1)."""
SCALAR_ZERO: Final = bytes(32)
SCALAR_ORDER: Final = ORDER.to_bytes(32, "big")
SCALAR_HALF: Final = (ORDER // 2).to_bytes(32, "big")
"""Scalars are compared as big-endian bytes: the same order as integers, and no conversion."""
ADDRESS_ZERO: Final = bytes(ADDRESS_BYTES)
POINT_BYTES: Final = 64
NO_POINT: Final = bytes(POINT_BYTES)
LIBRARY: Final = tuple(
    int(ffi.cast("uintptr_t", place))
    for place in (
        GLOBAL_CONTEXT.ctx,
        ffi.addressof(lib, "secp256k1_ecdsa_recoverable_signature_parse_compact"),
        ffi.addressof(lib, "secp256k1_ecdsa_recover"),
        ffi.addressof(lib, "secp256k1_ec_pubkey_serialize"),
    )
)
"""Where libsecp256k1's context and the three functions of a recovery are in this process."""


def sign(private_key: bytes, digest: bytes) -> bytes:
    """Return r || s || v, 65 bytes, low s, v 0 or 1; the nonce is RFC 6979's.

    Raises `InvalidSignature` `PRIVATE_KEY` or `DIGEST_LENGTH`.
    """
    _check_digest(digest)
    return _private_key(private_key).sign_recoverable(digest, hasher=None)


def public_key_of(private_key: bytes) -> bytes:
    """Return the 65-byte uncompressed public key (SEC 1, 2.3.3), or raise `PRIVATE_KEY`."""
    return _private_key(private_key).public_key.format(compressed=False)


def address_of(public_key: bytes) -> bytes:
    """Return the 20-byte address of a SEC 1 public key, 33 bytes compressed or 65 uncompressed.

    Raises `InvalidSignature` `PUBLIC_KEY` for another form (the hybrid one included) or a point off
    the curve, `ZERO_ADDRESS` for the address that means "none".
    """
    form = public_key[:1]
    if (len(public_key), form) not in ((33, b"\x02"), (33, b"\x03"), (65, b"\x04")):
        raise _bad_public_key()
    try:
        point = PublicKey(public_key)
    except ValueError:
        raise _bad_public_key() from None
    return _address_of_point(point)


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the 20-byte address whose key made `signature` over `digest`.

    Any well-formed signature recovers to some address: compare it with a stored one. Raises
    `InvalidSignature` 2001 .. 2008, checks in that order but for the digest's length, which is
    first.
    """
    _check_digest(digest)
    _check_form(signature)
    try:
        point = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError:
        raise InvalidSignature(
            NOT_RECOVERABLE, "no key can have made this signature over this digest; sign again"
        ) from None
    return _address_of_point(point)


def recover_many(pairs: Iterable[tuple[bytes, bytes]]) -> list[bytes | None]:
    """Return for each (digest, signature) the recovered address, None where `recover` raises."""
    if recover_points is None:
        return [_recovered(digest, signature) for digest, signature in pairs]
    pairs = list(pairs)
    places = [n for n, pair in enumerate(pairs) if _is_well_formed(*pair)]
    digests = b"".join([pairs[n][0] for n in places])
    points = recover_points(LIBRARY, b"".join([pairs[n][1] for n in places]), digests)
    addresses: list[bytes | None] = [None] * len(pairs)
    for at, n in enumerate(places):
        point = points[at * POINT_BYTES : (at + 1) * POINT_BYTES]
        address = keccak256(point)[12:]
        if point != NO_POINT and address != ADDRESS_ZERO:
            addresses[n] = address
    return addresses


def _recovered(digest: bytes, signature: bytes) -> bytes | None:
    try:
        return recover(digest, signature)
    except InvalidSignature:
        return None


def _is_well_formed(digest: bytes, signature: bytes) -> bool:
    """Whether `_check_digest` and `_check_form` would let it pass."""
    return (
        len(digest) == DIGEST_BYTES
        and len(signature) == SIGNATURE_BYTES
        and signature[64] <= 1
        and SCALAR_ZERO < signature[:32] < SCALAR_ORDER
        and SCALAR_ZERO < signature[32:64] <= SCALAR_HALF
    )


def from_wallet(signature: bytes) -> bytes:
    """Return the canonical 65 bytes of a signature as wallets write it.

    Accepts 65 bytes with v of 0, 1, 27 or 28, and the 64 bytes of EIP-2098. A high s stays high
    and is refused by `recover`. Raises `InvalidSignature` `SIGNATURE_LENGTH` or `RECOVERY_ID`.
    """
    if len(signature) == COMPACT_BYTES:
        v = signature[32] >> 7
        return signature[:32] + bytes((signature[32] & 0x7F,)) + signature[33:] + bytes((v,))
    if len(signature) != SIGNATURE_BYTES:
        raise _bad_length(signature)
    v = signature[64]
    if v in (0, 1):
        return signature
    if v not in (27, 28):
        raise _bad_recovery_id(v)
    return signature[:64] + bytes((v - 27,))  # Bitcoin's way to write it


def address_words(address: bytes) -> tuple[int, int, int]:
    """Return an address as three non-negative state words of 56, 56 and 48 bits, big-endian.

    Tuples compare as addresses do, which is what the sorted account list walks by.
    """
    if len(address) != ADDRESS_BYTES:
        raise InvalidSignature(
            ADDRESS_LENGTH,
            f"an address has {ADDRESS_BYTES} bytes, not {len(address)}",
            length=len(address),
        )
    number = int.from_bytes(address, "big")
    return number >> 104, number >> 48 & MASK_56, number & MASK_48


def address_from_words(w0: int, w1: int, w2: int) -> bytes:
    """Return the 20-byte address of three state words, or raise `ADDRESS_WORD_RANGE`."""
    if not (0 <= w0 < 1 << 56 and 0 <= w1 < 1 << 56 and 0 <= w2 < 1 << 48):
        raise InvalidSignature(
            ADDRESS_WORD_RANGE,
            "address words are unsigned integers of 56, 56 and 48 bits",
            words=(w0, w1, w2),
        )
    return w0.to_bytes(7, "big") + w1.to_bytes(7, "big") + w2.to_bytes(6, "big")


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise InvalidSignature(
            DIGEST_LENGTH,
            f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}; hash the message first",
            length=len(digest),
        )


def _check_form(signature: bytes) -> None:
    if len(signature) != SIGNATURE_BYTES:
        raise _bad_length(signature)
    if signature[64] > 1:
        raise _bad_recovery_id(signature[64])
    if not SCALAR_ZERO < signature[:32] < SCALAR_ORDER:
        raise InvalidSignature(R_RANGE, "r must be at least 1 and below the order of the curve")
    s = signature[32:64]
    if not SCALAR_ZERO < s < SCALAR_ORDER:
        raise InvalidSignature(S_RANGE, "s must be at least 1 and below the order of the curve")
    if s > SCALAR_HALF:
        raise InvalidSignature(
            HIGH_S, "s is above half the order of the curve; send n - s with the other v"
        )


@lru_cache(PRIVATE_KEYS_KEPT)
def _private_key(private_key: bytes) -> PrivateKey:
    if len(private_key) != PRIVATE_KEY_BYTES or not SCALAR_ZERO < private_key < SCALAR_ORDER:
        raise InvalidSignature(
            PRIVATE_KEY, "a private key is 32 bytes, at least 1 and below the order of the curve"
        )
    return PrivateKey(private_key)


def _address_of_point(point: PublicKey) -> bytes:
    address = keccak256(point.format(compressed=False)[1:])[12:]
    if address == ADDRESS_ZERO:
        raise InvalidSignature(
            ZERO_ADDRESS, "the key's address is zero, which means none; use another key"
        )
    return address


def _bad_length(signature: bytes) -> InvalidSignature:
    return InvalidSignature(
        SIGNATURE_LENGTH,
        f"a signature has {SIGNATURE_BYTES} bytes r || s || v, not {len(signature)}",
        length=len(signature),
    )


def _bad_recovery_id(v: int) -> InvalidSignature:
    return InvalidSignature(
        RECOVERY_ID, f"v is {v}; it must be 0 or 1 (27 and 28 only where a wallet speaks)", v=v
    )


def _bad_public_key() -> InvalidSignature:
    return InvalidSignature(
        PUBLIC_KEY, "a public key is a curve point, 33 bytes (02, 03) or 65 bytes (04)"
    )
