"""Signatures: known keys, one canonical form, damage, and addresses as words."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from coincurve import PublicKey
from eth_account import Account
from eth_keys.datatypes import Signature
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import signatures
from consensus.exceptions import InvalidSignature
from consensus.keccak import keccak256
from consensus.signatures import ORDER, address_of, from_wallet, public_key_of, recover, sign

FUZZ = settings(max_examples=100, derandomize=True, deadline=None, database=None)
SEED = 20_240_712

GENERATOR_X = 0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798
KEY = keccak256(b"cow")
DIGEST = bytes.fromhex("be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2")
ADDRESS = bytes.fromhex("cd2a3d9f938e13cd947ec05abc7fe734df8dd826")
SIGNATURE = sign(KEY, DIGEST)

private_keys = st.integers(1, ORDER - 1).map(lambda value: value.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)
addresses = st.one_of(
    st.binary(min_size=20, max_size=20),
    st.integers(0, 160).map(lambda bit: ((1 << bit) - 1).to_bytes(20, "big")),
)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def twin(signature: bytes) -> bytes:
    """Return the other signature that plain ECDSA accepts for the same key and digest."""
    s = int.from_bytes(signature[32:64], "big")
    return signature[:32] + word(ORDER - s) + bytes((signature[64] ^ 1,))


def number_of(refused: Callable[[], object]) -> int:
    with pytest.raises(InvalidSignature) as caught:
        refused()
    assert str(caught.value).startswith(f"E{caught.value.number}: ")
    return caught.value.number


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"a" * 135, "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446"),
        (b"a" * 136, "a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e"),
    ],
)
def test_keccak_gives_the_published_digests_and_not_those_of_sha3(
    message: bytes, expected: str
) -> None:
    assert keccak256(message).hex() == expected


@pytest.mark.parametrize(
    ("private_key", "address"),
    [
        (word(1), "7e5f4552091a69125d5dfcb7b8c2659029395bdf"),
        (word(2), "2b5ad5c4795c026514f8317c7a215e218dccd6cf"),
        (word(ORDER - 1), "80c0dbf239224071c59dd8970ab9d542e3414ab2"),
        (KEY, ADDRESS.hex()),
        (
            bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
            "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        ),
    ],
)
def test_well_known_keys_have_their_well_known_addresses(private_key: bytes, address: str) -> None:
    public_key = public_key_of(private_key)
    assert address_of(public_key).hex() == address
    assert address_of(PublicKey(public_key).format(compressed=True)).hex() == address
    assert recover(DIGEST, sign(private_key, DIGEST)).hex() == address


def test_the_mail_example_of_eip_712_has_the_published_signature() -> None:
    assert SIGNATURE.hex() == (
        "4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d"
        "07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b91562"
        "01"
    )
    assert recover(DIGEST, SIGNATURE) == ADDRESS


@FUZZ
@given(private_keys, digests)
def test_a_signature_recovers_to_its_signer_and_equals_the_reference_librarys(
    private_key: bytes, digest: bytes
) -> None:
    signature = sign(private_key, digest)
    reference = Account.unsafe_sign_hash(digest, private_key)
    assert from_wallet(bytes(reference.signature)) == signature
    assert 0 < int.from_bytes(signature[32:64], "big") <= ORDER // 2
    signer = address_of(public_key_of(private_key))
    assert recover(digest, signature) == signer
    assert signer == bytes.fromhex(str(Account.from_key(private_key).address)[2:])


@FUZZ
@given(private_keys, digests)
def test_the_high_s_twin_that_plain_ecdsa_accepts_is_refused(
    private_key: bytes, digest: bytes
) -> None:
    signature = sign(private_key, digest)
    other = twin(signature)
    naive = PublicKey.from_signature_and_message(other, digest, hasher=None)
    assert naive.format(compressed=False) == public_key_of(private_key)
    assert number_of(lambda: recover(digest, other)) == signatures.HIGH_S
    assert number_of(lambda: recover(digest, from_wallet(other))) == signatures.HIGH_S


def test_any_flipped_bit_of_signature_or_digest_never_recovers_the_same_address() -> None:
    draw = random.Random(SEED)
    print(f"seed {SEED}")
    for _ in range(4):
        digest = draw.randbytes(32)
        private_key = word(draw.randrange(1, ORDER))
        whole = sign(private_key, digest) + digest
        signer = recover(digest, whole[:65])
        assert signer == address_of(public_key_of(private_key))
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << (bit % 8)
            pair = (bytes(damaged[65:]), bytes(damaged[:65]))
            assert signatures.recover_many([pair]) != [signer], f"bit {bit}"


MALFORMED = [
    (b"", signatures.SIGNATURE_LENGTH),
    (SIGNATURE[:64], signatures.SIGNATURE_LENGTH),
    (SIGNATURE + b"\0", signatures.SIGNATURE_LENGTH),
    (SIGNATURE[:64] + b"\2", signatures.RECOVERY_ID),
    (SIGNATURE[:64] + b"\3", signatures.RECOVERY_ID),
    (SIGNATURE[:64] + b"\x1b", signatures.RECOVERY_ID),
    (SIGNATURE[:64] + b"\x1c", signatures.RECOVERY_ID),
    (SIGNATURE[:64] + b"\xff", signatures.RECOVERY_ID),
    (word(0) + SIGNATURE[32:], signatures.R_RANGE),
    (word(ORDER) + SIGNATURE[32:], signatures.R_RANGE),
    (b"\xff" * 32 + SIGNATURE[32:], signatures.R_RANGE),
    (SIGNATURE[:32] + word(0) + b"\0", signatures.S_RANGE),
    (SIGNATURE[:32] + word(ORDER) + b"\0", signatures.S_RANGE),
    (SIGNATURE[:32] + b"\xff" * 32 + b"\0", signatures.S_RANGE),
    (SIGNATURE[:32] + word(ORDER - 1) + b"\0", signatures.HIGH_S),
    (SIGNATURE[:32] + word(ORDER // 2 + 1) + b"\0", signatures.HIGH_S),
    (word(5) + word(1) + b"\0", signatures.NOT_RECOVERABLE),
    (word(ORDER - 1) + word(1) + b"\1", signatures.NOT_RECOVERABLE),
]


@pytest.mark.parametrize(("signature", "number"), MALFORMED)
def test_every_malformed_signature_is_refused_by_its_own_number(
    signature: bytes, number: int
) -> None:
    assert number_of(lambda: recover(DIGEST, signature)) == number


def test_the_largest_low_s_is_accepted() -> None:
    largest = SIGNATURE[:32] + word(ORDER // 2) + b"\0"
    expected = Signature(largest).recover_public_key_from_msg_hash(DIGEST)
    assert recover(DIGEST, largest) == bytes(expected.to_canonical_address())


def test_a_signature_that_recovers_the_point_at_infinity_is_refused() -> None:
    digest = word(12_345)
    signature = word(GENERATOR_X) + digest + b"\0"  # R = G, s = z: the key is (sG - zG) / r = 0
    assert number_of(lambda: recover(digest, signature)) == signatures.NOT_RECOVERABLE


def test_a_key_whose_address_is_zero_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    public_key = public_key_of(KEY)
    monkeypatch.setattr(signatures, "keccak256", lambda _: bytes(range(12)) + bytes(20))
    assert number_of(lambda: recover(DIGEST, SIGNATURE)) == signatures.ZERO_ADDRESS
    assert number_of(lambda: address_of(public_key)) == signatures.ZERO_ADDRESS


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_digest_of_another_length_is_refused(length: int) -> None:
    assert number_of(lambda: recover(bytes(length), SIGNATURE)) == signatures.DIGEST_LENGTH
    assert number_of(lambda: sign(KEY, bytes(length))) == signatures.DIGEST_LENGTH


@pytest.mark.parametrize("private_key", [b"", word(0), word(ORDER), b"\xff" * 32, KEY[1:], KEY * 2])
def test_a_private_key_outside_the_curve_order_is_refused(private_key: bytes) -> None:
    assert number_of(lambda: sign(private_key, DIGEST)) == signatures.PRIVATE_KEY
    assert number_of(lambda: public_key_of(private_key)) == signatures.PRIVATE_KEY


def test_a_public_key_in_another_form_or_off_the_curve_is_refused() -> None:
    public_key = public_key_of(KEY)
    hybrid = bytes((6 + public_key[64] % 2,)) + public_key[1:]
    assert PublicKey(hybrid).format(compressed=False) == public_key
    off_curve = public_key[:64] + bytes((public_key[64] ^ 1,))
    compressed_off_curve = b"\2" + word(5)
    for bad in (hybrid, off_curve, compressed_off_curve, public_key[1:], b"", public_key + b"\0"):
        refused = partial(address_of, bad)
        assert number_of(refused) == signatures.PUBLIC_KEY


@FUZZ
@given(private_keys, digests)
def test_every_spelling_of_a_wallet_becomes_the_same_65_bytes(
    private_key: bytes, digest: bytes
) -> None:
    signature = sign(private_key, digest)
    v = signature[64]
    folded = int.from_bytes(signature[32:64], "big") | v << 255
    assert from_wallet(signature) == signature
    assert from_wallet(signature[:64] + bytes((27 + v,))) == signature
    assert from_wallet(signature[:32] + word(folded)) == signature


@pytest.mark.parametrize("v", [2, 3, 26, 29, 37, 38, 54, 55, 255])
def test_a_wallet_signature_with_another_v_is_refused(v: int) -> None:
    refused = number_of(lambda: from_wallet(SIGNATURE[:64] + bytes((v,))))
    assert refused == signatures.RECOVERY_ID


@pytest.mark.parametrize("length", [0, 63, 66])
def test_a_wallet_signature_of_another_length_is_refused(length: int) -> None:
    assert number_of(lambda: from_wallet(bytes(length))) == signatures.SIGNATURE_LENGTH


def test_many_recoveries_keep_their_order_and_mark_the_refused_in_threads_too() -> None:
    draw = random.Random(SEED)
    print(f"seed {SEED}")
    pairs: list[tuple[bytes, bytes]] = []
    expected: list[bytes | None] = []
    for i in range(128):
        private_key, digest = word(draw.randrange(1, ORDER)), draw.randbytes(32)
        signature = sign(private_key, digest)
        bad = i % 5 == 0
        pairs.append((digest, twin(signature) if bad else signature))
        expected.append(None if bad else address_of(public_key_of(private_key)))
    assert signatures.recover_many(pairs) == expected
    with ThreadPoolExecutor(2) as pool:
        chunks = list(pool.map(signatures.recover_many, (pairs[:64], pairs[64:])))
    assert chunks[0] + chunks[1] == expected


def test_one_bad_among_many_is_refused_alone() -> None:
    """Each form of a bad signature that one recovery refuses by number, and bad digests."""
    infinite = (word(12_345), word(GENERATOR_X) + word(12_345) + b"\0")
    bad = [(DIGEST, signature) for signature, _ in MALFORMED]
    bad += [infinite, (DIGEST[1:], SIGNATURE), (DIGEST + b"\0", SIGNATURE), (b"", b"")]
    pairs = [pair for one in bad for pair in ((DIGEST, SIGNATURE), one)]
    assert signatures.recover_many(pairs) == [ADDRESS, None] * len(bad)
    assert signatures.recover_many(bad) == [None] * len(bad)
    assert signatures.recover_many([]) == []


def test_many_recoveries_refuse_the_address_that_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "keccak256", lambda _: bytes(range(12)) + bytes(20))
    assert signatures.recover_many([(DIGEST, SIGNATURE)]) == [None]


@FUZZ
@given(st.lists(st.tuples(digests, st.binary(min_size=64, max_size=64), st.integers(0, 2))))
def test_many_recoveries_are_those_one_by_one(drawn: list[tuple[bytes, bytes, int]]) -> None:
    pairs = [(digest, scalars + bytes((v,))) for digest, scalars, v in drawn]
    one_by_one = [signatures._recovered(*pair) for pair in pairs]
    assert signatures.recover_many(pairs) == one_by_one


def test_recovery_in_c_refuses_lengths_that_do_not_fit() -> None:
    recovery = pytest.importorskip("consensus.recovery", reason="nothing is compiled")
    for signed, hashed in ((SIGNATURE[:64], DIGEST), (SIGNATURE, DIGEST * 2), (SIGNATURE, b"")):
        with pytest.raises(ValueError, match="65 bytes"):
            recovery.recover_points(signatures.LIBRARY, signed, hashed)


@FUZZ
@given(addresses, addresses)
def test_address_words_go_both_ways_and_keep_the_order_of_addresses(a: bytes, b: bytes) -> None:
    words_a, words_b = signatures.address_words(a), signatures.address_words(b)
    assert signatures.address_from_words(*words_a) == a
    assert (words_a < words_b) == (a < b)
    assert all(0 <= w < 1 << 56 for w in words_a)


def test_address_words_are_seven_seven_and_six_bytes() -> None:
    words = signatures.address_words(bytes(range(20)))
    assert words == (0x00010203040506, 0x0708090A0B0C0D, 0x0E0F10111213)


@pytest.mark.parametrize("length", [0, 19, 21])
def test_an_address_of_another_length_is_refused(length: int) -> None:
    refused = number_of(lambda: signatures.address_words(bytes(length)))
    assert refused == signatures.ADDRESS_LENGTH


@pytest.mark.parametrize(
    "words", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (1 << 56, 0, 0), (0, 1 << 56, 0), (0, 0, 1 << 48)]
)
def test_words_that_are_no_address_are_refused(words: tuple[int, int, int]) -> None:
    refused = number_of(lambda: signatures.address_from_words(*words))
    assert refused == signatures.ADDRESS_WORD_RANGE
