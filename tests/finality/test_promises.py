"""Promises: a record holds under the promiser's signature, and nothing near it does."""

import random
from dataclasses import replace
from hashlib import sha256

import pytest

from consensus.exceptions import ConsensusError
from consensus.finality import bls, promises
from consensus.finality.promises import Appointment, Promise, Record
from consensus.finality.validators import ValidatorSet
from consensus.genesis import Validator
from consensus.signatures import address_of, public_key_of
from consensus.streams import bytes_paths, bytes_proof

CHAIN = sha256(b"chain").digest()
RUNNING = sha256(b"journal").digest()
SECRET = bytes(31) + b"\5"
PROMISER = address_of(public_key_of(SECRET))


def record(n: int) -> Record:
    return Record(3, 100 + n, 1 + n % 3, sha256(b"c%d" % n).digest(), sha256(b"r%d" % n).digest())


def promised(count: int) -> list[Promise]:
    return promises.promise_all(SECRET, CHAIN, [record(n) for n in range(count)], RUNNING)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 16, 17, 64, 65])
def test_every_record_of_a_group_holds(count: int) -> None:
    made = promised(count)
    assert len({promise.signature for promise in made}) == 1
    for n, promise in enumerate(made):
        data = promises.encode_promise(promise)
        assert promises.decode_promise(data) == promise
        assert promises.verify(promise, CHAIN, PROMISER) == record(n)


def test_paths_made_together_are_the_paths_made_alone() -> None:
    for length in (0, 1, 256, 257, 1024, 1025, 4096, 5000, 20_000):
        data = random.Random(length).randbytes(length)
        leaves = (length + 255) // 256
        assert bytes_paths(data) == [bytes_proof(data, n) for n in range(leaves)]


def test_a_changed_field_is_refused() -> None:
    promise = promised(9)[4]
    other = promised(9)[5]
    for bad in (
        promise._replace(record=promise.record._replace(height=4)),
        promise._replace(record=promise.record._replace(sequence=1)),
        promise._replace(record=promise.record._replace(operations=9)),
        promise._replace(record=promise.record._replace(command=bytes(32))),
        promise._replace(record=promise.record._replace(result=bytes(32))),
        promise._replace(record=other.record),
        promise._replace(place=5),
        promise._replace(records=10),
        promise._replace(records=4),
        promise._replace(root=bytes(32)),
        promise._replace(path=promise.path[32:]),
        promise._replace(running=bytes(32)),
        promise._replace(signature=promise.signature[:64] + bytes((promise.signature[64] ^ 1,))),
    ):
        with pytest.raises(ConsensusError):
            promises.verify(bad, CHAIN, PROMISER)
    with pytest.raises(ConsensusError):
        promises.verify(promise, bytes(32), PROMISER)
    with pytest.raises(ConsensusError):
        promises.verify(promise, CHAIN, bytes(20))


def test_every_flipped_bit_of_a_promise_is_refused() -> None:
    data = promises.encode_promise(promised(20)[7])
    for bit in range(0, 8 * len(data), 5):
        bad = bytearray(data)
        bad[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(ConsensusError):
            promises.verify(promises.decode_promise(bytes(bad)), CHAIN, PROMISER)


def test_an_appointment_is_by_a_validator_for_one_address_of_one_chain() -> None:
    secrets = [bytes(31) + bytes((n,)) for n in (1, 2)]
    known = [Validator(bls.public_key_of(key), bls.prove_possession(key)) for key in secrets]
    validators = ValidatorSet(known)
    signature = bls.sign(secrets[1], promises.appoint(CHAIN, PROMISER))
    good = Appointment(PROMISER, 1, signature)
    data = promises.encode_appointment(good)
    assert promises.decode_appointment(data) == good
    promises.check_appointment(CHAIN, validators, good)
    for bad in (replace(good, validator=0), replace(good, validator=2),
                replace(good, promiser=bytes(20))):  # fmt: skip
        with pytest.raises(ConsensusError) as caught:
            promises.check_appointment(CHAIN, validators, bad)
        assert caught.value.number == promises.WRONG_APPOINTMENT
    with pytest.raises(ConsensusError):
        promises.check_appointment(bytes(32), validators, good)
