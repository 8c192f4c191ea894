"""Challenge and validity modes, with the verifier's place taken in a contract compiled for tests.

The committed contract knows no verifier and cannot be deployed in these modes
(`test_settlement.py`); here one constant of its source differs.
"""

from hashlib import sha256
from pathlib import Path

import pytest
from bridge_chain import OWNERS, USD, WINDOW, Bridge, Posted, compiled
from l1_wallets import Wallets, new_l1, reason, sidecar_of

from consensus.da import kzg
from consensus.keccak import keccak256
from consensus.rollup.batch import evaluation_point, public_values
from node.l1 import contract as law
from node.l1 import trusted_setup
from node.l1.surface import L1Error
from scripts.compile_contracts import CONTRACTS

VERIFIER = (Path(__file__).parent / "TestVerifier.vy").read_text()
BOND = 10**18
NO_CODE = "0x" + "00" * 32


def bridge_of(mode: int) -> Bridge:
    l1 = new_l1(*OWNERS, "guardian", "governor", "stranger")
    wallets = Wallets(l1)
    made = wallets.do("operator", b"", bytes.fromhex(compiled(VERIFIER)[2:]))["contractAddress"]
    code = bytes.fromhex(l1.answer("eth_getCode", made)[2:])
    source = (CONTRACTS / "Settlement.vy").read_text("utf-8")
    assert source.count(NO_CODE) == 1
    changed = compiled(source.replace(NO_CODE, "0x" + keccak256(code).hex()))
    bridge = Bridge(
        bytecode=bytes.fromhex(changed[2:]), verifier=bytes.fromhex(made[2:]), l1=l1, mode=mode
    )
    bridge.deposit(OWNERS[0], USD, 50)
    bridge.block()
    return bridge


def arguments(bridge: Bridge, posted: Posted) -> list[object]:
    """What `prove` takes: openings of the blob, and the proof of the public values."""
    sidecar = sidecar_of(b"payload")
    z = evaluation_point(sidecar.hashes[0], posted.batch.payload_hash)
    opening, y = kzg.open_blob(sidecar.blobs[0], z, trusted_setup.load())
    values = public_values(
        posted.batch, chain_id=bridge.wallets.l1.chain.chain_id, contract=bridge.address,
        evaluations=[y],
    )  # fmt: skip
    return [
        posted.batch.number, posted.summary, law.batch_words(posted.batch), list(sidecar.hashes),
        [y.to_bytes(32, "big")], [sidecar.commitments[0] + opening], sha256(values).digest(),
    ]  # fmt: skip


def refused(bridge: Bridge, name: str, *values: object, **more: int) -> str:
    with pytest.raises(L1Error) as caught:
        bridge.do("stranger", name, *values, **more)
    return reason(caught.value)


def test_without_a_proof_nothing_is_final_in_validity_mode() -> None:
    bridge = bridge_of(law.VALIDITY)
    posted = bridge.commit()
    bridge.later(10 * WINDOW)
    assert refused(bridge, "finalize", 1, posted.summary) == "proof"
    assert refused(bridge, "challenge", 1, posted.summary, value=BOND) == "mode"
    right = arguments(bridge, posted)
    for at, value, text in (
        (6, bytes(32), "proof"), (4, [bytes(32)], ""), (4, [], "openings"),
        (2, (*law.batch_words(posted.batch)[:-1], bytes(32)), "batch"), (3, [], "batch"),
        (0, 2, "number"),
    ):  # fmt: skip
        wrong = list(right)
        wrong[at] = value
        assert refused(bridge, "prove", *wrong) == text
    bridge.do("stranger", "prove", *right)
    bridge.finalize()
    assert bridge.read("finalized") == 1


def test_an_unchallenged_batch_is_final_after_its_window_and_a_proven_one_at_once() -> None:
    bridge = bridge_of(law.CHALLENGE)
    posted = bridge.commit()
    assert refused(bridge, "finalize", 1, posted.summary) == "window"
    bridge.do("stranger", "prove", *arguments(bridge, posted))
    assert refused(bridge, "challenge", 1, posted.summary, value=BOND) == "proven"
    bridge.finalize()
    bridge.block()
    second = bridge.commit(b"second")
    bridge.later(WINDOW)
    assert refused(bridge, "challenge", 2, second.summary, value=BOND) == "window"
    bridge.finalize()


def test_a_challenge_that_is_answered_pays_whoever_proved() -> None:
    bridge = bridge_of(law.CHALLENGE)
    posted = bridge.commit()
    assert refused(bridge, "challenge", 1, posted.summary, value=BOND - 1) == "bond"
    bridge.do("guardian", "challenge", 1, posted.summary, value=BOND)
    assert refused(bridge, "challenge", 1, posted.summary, value=BOND) == "challenged"
    bridge.later(WINDOW - 10)
    assert refused(bridge, "revert_unproven", 1, posted.summary) == "early"
    bridge.later(9)
    assert refused(bridge, "finalize", 1, posted.summary) == "challenged"
    assert bridge.balance() == BOND
    bridge.do("stranger", "prove", *arguments(bridge, posted))
    assert bridge.balance() == 0
    bridge.finalize()
    assert refused(bridge, "revert_unproven", 1, posted.summary) == "challenge"
    assert refused(bridge, "reclaim_bond", posted.summary.hash) == "challenge"


def test_a_challenge_that_nobody_answers_reverts_the_batch_and_gives_the_bond_back_once() -> None:
    bridge = bridge_of(law.CHALLENGE)
    posted = bridge.commit()
    bridge.do("guardian", "challenge", 1, posted.summary, value=BOND)
    assert refused(bridge, "reclaim_bond", posted.summary.hash) == "committed"
    bridge.later(WINDOW + 1)
    bridge.do("stranger", "revert_unproven", 1, posted.summary)
    assert (bridge.read("committed"), bridge.balance()) == (0, BOND)
    del bridge.summaries[1:], bridge.posted[1:]
    bridge.blocks_posted = 0
    again = bridge.commit()
    # The old challenge says nothing about the batch that took the number.
    assert refused(bridge, "revert_unproven", 1, again.summary) == "challenge"
    bridge.do("stranger", "reclaim_bond", posted.summary.hash)
    assert bridge.balance() == 0
    assert refused(bridge, "reclaim_bond", posted.summary.hash) == "challenge"


def test_quorum_mode_has_no_proofs_and_the_others_no_guardian() -> None:
    bridge = bridge_of(law.CHALLENGE)
    posted = bridge.commit()
    with pytest.raises(L1Error, match="mode"):
        bridge.do("guardian", "revert_by_guardian", 1, posted.summary)
    quorum = Bridge()
    quorum.deposit(OWNERS[0], USD, 50)
    quorum.block()
    done = quorum.commit()
    assert refused(quorum, "prove", *arguments(quorum, done)) == "mode"
