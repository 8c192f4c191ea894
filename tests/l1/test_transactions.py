"""Transactions that we sign are those that others would have signed, and read back as such."""

import pytest
from eth_account import Account
from l1_wallets import FEES, address, new_l1, secret_of, sidecar_of

from consensus import codec
from consensus.exceptions import ConsensusError
from node.exceptions import NodeError
from node.l1 import transactions as law
from node.l1.transactions import Call, Fees, Sidecar, sign_call, split

TO = address("somebody")
SECRET = secret_of("operator")
SIDECAR = sidecar_of(b"a payload")


@pytest.mark.parametrize("to", [TO, b""])
def test_a_plain_transaction_has_the_bytes_that_eth_account_signs(to: bytes) -> None:
    call = Call(to, b"\x01\x02", 5, 300_000)
    ours = sign_call(SECRET, 9, 3, call, FEES)
    theirs = Account.from_key(SECRET).sign_transaction(
        {
            "type": 2, "chainId": 9, "nonce": 3, "maxPriorityFeePerGas": FEES.tip,
            "maxFeePerGas": FEES.max_fee, "gas": 300_000, "value": 5, "data": b"\x01\x02",
            **({"to": to} if to else {}),
        }
    )  # fmt: skip
    assert (ours.raw, ours.hash) == (bytes(theirs.raw_transaction), bytes(theirs.hash))


@pytest.mark.parametrize("version", [0, 1])
def test_a_blob_transaction_comes_back_with_its_sidecar_and_sender(version: int) -> None:
    sidecar = sidecar_of(b"a payload", version)
    signed = sign_call(SECRET, 1337, 0, Call(TO), FEES, sidecar)
    canonical, found = split(signed.raw)
    assert found == sidecar
    l1 = new_l1()
    builder = l1.chain.chain.get_vm(l1.chain.head).get_transaction_builder()
    transaction = builder.decode(canonical)
    assert transaction.sender == address("operator")
    assert transaction.hash == signed.hash
    assert transaction.blob_versioned_hashes == sidecar.hashes


def test_network_forms_that_no_client_takes_are_refused() -> None:
    raw = sign_call(SECRET, 1337, 0, Call(TO), FEES, SIDECAR).raw
    parts = codec.decode(raw[1:], limit_bytes=law.NETWORK_BYTES_MAX)
    assert isinstance(parts, list)
    fields = parts[0]
    assert isinstance(fields, list)
    other = sidecar_of(b"another payload")
    for changed in (
        fields,
        [*parts, b""],
        [fields, b"\x02", *parts[2:]],
        [fields, b"\x01", *parts[2:4], parts[4][1:]],
        [fields, b"\x01", list(other.blobs), list(other.commitments), list(other.proofs)],
        [fields, b"\x01", [[b""]], *parts[3:]],
    ):
        with pytest.raises((NodeError, ConsensusError)):
            split(b"\x03" + codec.encode(changed))
    with pytest.raises(NodeError) as caught:
        split(bytes(law.NETWORK_BYTES_MAX + 1))
    assert caught.value.number == law.TRANSACTION_FORM


@pytest.mark.parametrize(
    ("call", "fees"),
    [
        (Call(TO[1:]), FEES),
        (Call(b"", gas=law.GAS_PER_TRANSACTION_MAX + 1), FEES),
        (Call(TO, gas=20_999), FEES),
        (Call(TO), Fees(tip=2, max_fee=1)),
        (Call(TO), Fees(tip=-1, max_fee=1)),
    ],
)
def test_fields_that_no_client_takes_are_not_signed(call: Call, fees: Fees) -> None:
    with pytest.raises(NodeError) as caught:
        sign_call(SECRET, 1, 0, call, fees)
    assert caught.value.number == law.TRANSACTION_FIELD


def test_a_blob_transaction_neither_deploys_nor_is_free() -> None:
    for call, fees in ((Call(b""), FEES), (Call(TO), Fees(1, 2, 0))):
        with pytest.raises(NodeError) as caught:
            sign_call(SECRET, 1, 0, call, fees, SIDECAR)
        assert caught.value.number == law.TRANSACTION_FIELD


def test_a_sidecar_has_one_to_six_blobs_and_what_belongs_to_them() -> None:
    one = SIDECAR
    for version, blobs, commitments, proofs in (
        (1, (), (), ()),
        (1, one.blobs * 7, one.commitments * 7, one.proofs * 7),
        (2, one.blobs, one.commitments, one.proofs),
        (0, one.blobs, one.commitments, one.proofs),
        (1, one.blobs, (), one.proofs),
        (1, (one.blobs[0][1:],), one.commitments, one.proofs),
        (1, one.blobs, (b"",), one.proofs),
    ):
        with pytest.raises(NodeError) as caught:
            Sidecar(version, blobs, commitments, proofs)
        assert caught.value.number == law.SIDECAR_SHAPE
