"""Validators sign what they replayed and decoded, for members only; a quorum is enough for L1."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from bridge_chain import Bridge
from l1_wallets import sidecar_of
from networks import InMemory, Kind, OverSockets, until
from posting import LocalKzg, Validator, committee_of, secret_of_member, traded
from signed_chain import private_key

from consensus.da import payload
from consensus.rollup.batch import Batch, encode_batch
from consensus.signatures import sign
from node.exceptions import NodeError
from node.l1 import attesting, batches
from node.l1.attesting import Collector, digest_of
from node.l1.batches import draft, read_range
from p2p.exchange.attest import AttestRequest, encode_attest
from p2p.network import Refused
from p2p.peering import Peering
from p2p.topics import ATTEST


@dataclass
class Council:
    """A leader (member 0) and validators (members 1 ..), connected."""

    bridge: Bridge
    leader: Peering
    collector: Collector
    validators: list[Validator]

    async def draft(self) -> tuple[Batch, bytes]:
        chain = self.validators[0].chain
        made = draft(1, read_range(chain.blocks, 1, chain.state.head.height), "quorum")
        return made.with_commitments(await LocalKzg().commit(made.blobs)), made.carried

    async def ask(self, batch: Batch, carried: bytes, secret: bytes, epoch: int = 1) -> list[bytes]:
        """What the first validator answers to a request signed by `secret`."""
        chain = self.validators[0].chain
        signature = sign(secret, digest_of(chain, epoch, batch))
        request = AttestRequest(epoch, signature, encode_batch(batch), carried)
        return [chunk async for chunk in self.request(encode_attest(request))]

    def request(self, data: bytes) -> AsyncIterator[bytes]:
        return self.leader.request(self.validators[0].network.peer, ATTEST, data)

    def score(self) -> float:
        ledger: Any = self.validators[0].network
        return float(ledger.ledger.score(self.leader.peer))


@asynccontextmanager
async def council(
    kind: Kind, members: tuple[int | bytes, ...] = (1, 2, 3)
) -> AsyncIterator[Council]:
    bridge = Bridge()
    traded(bridge)
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(kind.make("leader"))
        validators = []
        for place, member in enumerate(members):
            dial = leader.addresses()[:1]
            network = await stack.enter_async_context(kind.make(f"validator {place}", dial))
            validators.append(Validator(bridge, network, member))
            await validators[-1].follow()
        await until(lambda: sum(one.ready for one in leader.peers()) == len(members))
        collector = Collector(validators[0].chain, leader, secret_of_member(bridge, 0))
        yield Council(bridge, leader, collector, validators)


@pytest.mark.parametrize("kind", [InMemory, OverSockets])
async def test_the_contract_takes_what_the_validators_sign(kind: type[Kind]) -> None:
    async with council(kind()) as found:
        batch, carried = await found.draft()
        signed = await found.collector.collect(batch, carried, committee_of(found.bridge))
        assert len(signed.signatures) == 3  # of 4: the third ends the round
        found.bridge.commit(carried, batch=batch, sidecar=sidecar_of(carried), signed=signed)
        assert found.bridge.read("committed") == 1


async def test_a_batch_of_nine_blobs_fits_a_request_over_sockets() -> None:
    async with council(OverSockets()) as found:
        batch, _ = await found.draft()
        with pytest.raises(Refused) as caught:
            await found.ask(batch, bytes(9 * 126_976), secret_of_member(found.bridge, 0))
        assert caught.value.code == batches.PAYLOAD_DIFFERS


async def test_without_a_quorum_there_are_no_signatures(autojump_clock: object) -> None:
    async with council(InMemory(), (1,)) as found:
        batch, carried = await found.draft()
        with pytest.raises(NodeError) as caught:
            await found.collector.collect(batch, carried, committee_of(found.bridge))
        assert caught.value.number == attesting.QUORUM_SHORT


async def test_a_validator_that_is_behind_says_so_without_blame(autojump_clock: object) -> None:
    async with council(InMemory(), (1, 2)) as found:
        batch, carried = await found.draft()
        found.validators[0].chain.certified -= 1
        with pytest.raises(Refused) as caught:
            await found.ask(batch, carried, secret_of_member(found.bridge, 0))
        assert caught.value.code == batches.BATCH_BLOCKS
        assert found.score() == 0
        with pytest.raises(NodeError):
            await found.collector.collect(batch, carried, committee_of(found.bridge))


async def test_a_stranger_is_refused_before_anything_is_computed(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with council(InMemory()) as found:
        batch, carried = await found.draft()
        monkeypatch.setattr(attesting, "read_range", lambda *_: pytest.fail("it was read"))
        with pytest.raises(Refused) as caught:
            await found.ask(batch, carried, private_key("a stranger"))
        assert caught.value.code == attesting.ASKER
        with pytest.raises(Refused) as caught:
            await found.ask(batch, carried, secret_of_member(found.bridge, 0), epoch=2)
        assert caught.value.code == attesting.ASKER


async def test_a_member_that_signs_a_false_batch_pays_and_raises_an_alarm(
    autojump_clock: object,
) -> None:
    async with council(InMemory()) as found:
        batch, carried = await found.draft()
        own = secret_of_member(found.bridge, 0)
        with pytest.raises(Refused) as caught:
            await found.ask(replace(batch, post_state_root=bytes(32)), carried, own)
        assert caught.value.code == batches.BATCH_DIFFERS
        assert found.score() == pytest.approx(20, abs=1)
        assert "post_state_root" in found.validators[0].chain.alarms[-1]
        with pytest.raises(Refused) as caught:
            false = replace(batch, blob_hashes=(b"\x01" + bytes(31),))
            await found.ask(false, carried, own)
        assert caught.value.code == batches.BLOBS_DIFFER
        assert found.validators[0].attester.signed == 0


async def test_blobs_of_other_blocks_are_not_signed(autojump_clock: object) -> None:
    async with council(InMemory()) as found:
        batch, _ = await found.draft()
        blocks = found.bridge.chain.blocks[:-1]
        other = payload.compress(batches.payload_of(blocks, "quorum"))
        with pytest.raises(Refused) as caught:
            await found.ask(batch, other, secret_of_member(found.bridge, 0))
        assert caught.value.code == batches.PAYLOAD_DIFFERS


async def test_an_answer_that_is_no_members_signature_costs_the_answerer(
    autojump_clock: object,
) -> None:
    async with council(InMemory(), (private_key("an impostor"), 1)) as found:
        impostor = found.validators[0]
        members = (*committee_of(found.bridge).members, impostor.attester.address)
        impostor.attester._committee = lambda: attesting.Committee(1, members)
        batch, carried = await found.draft()
        with pytest.raises(NodeError, match="2 of 4 members signed"):
            await found.collector.collect(batch, carried, committee_of(found.bridge))
        assert found.leader.ledger.score(impostor.network.peer) == pytest.approx(25, abs=1)


async def test_one_who_is_no_member_neither_signs_nor_collects(autojump_clock: object) -> None:
    async with council(InMemory(), (private_key("nobody"),)) as found:
        batch, carried = await found.draft()
        with pytest.raises(Refused) as caught:
            await found.ask(batch, carried, secret_of_member(found.bridge, 0))
        assert caught.value.code == attesting.NOT_A_MEMBER
        nobody = Collector(found.validators[0].chain, found.leader, private_key("nobody"))
        with pytest.raises(NodeError) as refused:
            await nobody.collect(batch, carried, committee_of(found.bridge))
        assert refused.value.number == attesting.NOT_A_MEMBER


@pytest.mark.parametrize("data", [b"", bytes(74), bytes(75), bytes(73) + b"\1\0" + b"x"])
async def test_a_request_that_is_none_is_an_offence(
    autojump_clock: object, data: bytes
) -> None:
    async with council(InMemory(), (1,)) as found:
        with pytest.raises(Exception):  # noqa: B017 - the stream is dropped
            async for _ in found.request(data):
                pass
        assert found.score() == pytest.approx(25, abs=1)


async def test_a_batch_that_does_not_decode_is_an_offence(autojump_clock: object) -> None:
    async with council(InMemory(), (1,)) as found:
        request = encode_attest(AttestRequest(1, bytes(65), b"\xc0", b"x"))
        with pytest.raises(Refused):
            async for _ in found.request(request):
                pass
        assert found.score() == pytest.approx(20, abs=1)


