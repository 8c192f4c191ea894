"""A chain comes back from genesis, L1 and blobs alone; what is wrong is named with its height."""

from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from bridge_chain import DEADLINE, ETH, FREEZE_AFTER, OWNERS, USD, WINDOW
from derived_chain import PostingBridge
from signed_chain import address, genesis_of

from consensus.block import Header
from consensus.commands import grant, place, withdraw
from consensus.da import payload
from consensus.da.payload import BlockBody
from consensus.rollup import origin
from consensus.signatures import recover_many
from consensus.transition import SIGNATURE
from node.exceptions import NodeError
from node.l1 import contract as law
from node.l1 import history as reading
from node.l1.archive import BLOB_MISSING, BLOB_OTHER, Archive
from node.l1.client import FINALIZED, LATEST
from node.l1.deployment import DEPLOYMENT_OTHER
from node.l1.derive import DERIVED_OTHER, DERIVED_REFUSED, Derivation
from node.l1.facts import L1_INCONSISTENT
from node.l1.history import L1_MOVED, NOT_ON_L1
from node.l1.surface import REFUSED, L1Error
from storage.memory_files import MemoryFiles

ALICE, BOB = OWNERS[0], OWNERS[1]
ALICE_ACCOUNT = 2
OTHER = b"\x05" * 32
FRAME = payload.compress(payload.encode([BlockBody(1, 0, 0, 0, OTHER, 0, b"", b"", b"")]))
NOBODY = lambda header, hashed: None  # noqa: E731


def traded(bridge: PostingBridge) -> PostingBridge:
    """Two deposits, a forced withdrawal, a session key, orders and a withdrawal; four blocks."""
    bridge.deposit(ALICE, USD, 1000)
    bridge.deposit(BOB, ETH, 500)
    bridge.block()
    expires = bridge.chain.leader.head.time + 10**6
    row = grant(slot=1, address=address("session"), expires=expires, cap=1, markets=1, quote=0)
    bridge.do(BOB, "force", withdraw(ETH, 3, address(BOB)), value=law.FORCE_FEE_WEI)
    bridge.block(bridge.chain.group(ALICE_ACCOUNT, [row]))
    bridge.block(bridge.chain.group(ALICE_ACCOUNT, [place(0, 0, 7, 20_000, 1)]))
    bridge.block(bridge.withdrawal(ALICE_ACCOUNT, USD, 100, address(BOB)))
    return bridge


@pytest.fixture
def bridge() -> PostingBridge:
    return traded(PostingBridge())


async def derived(
    bridge: PostingBridge, tag: str = LATEST, kept: Callable[[Header, bytes], object] = NOBODY
) -> Any:
    derivation = bridge.derivation()
    posted = await derivation.read(tag)
    await derivation.run(posted, len(posted.batches), kept)
    return derivation


async def refusal(bridge: PostingBridge, **how: Any) -> NodeError:
    with pytest.raises(NodeError) as caught:
        await derived(bridge, **how)
    return caught.value


async def test_every_header_and_word_comes_back(bridge: PostingBridge) -> None:
    bridge.post()
    bridge.deposit(ALICE, ETH, 7)
    bridge.block()
    bridge.block()
    bridge.post()
    headers: list[tuple[Header, bytes]] = []
    derivation = await derived(bridge, kept=lambda *told: headers.append(told))
    assert [header for header, _ in headers] == [one.header for one in bridge.chain.blocks]
    assert headers[-1][1] == bridge.chain.leader.head_hash
    state = derivation.state
    assert state.head.state_root == bridge.summaries[-1].post_state_root
    assert state.memory.view() == bridge.chain.leader.memory.view()
    sizes = derivation.sizes
    assert (sizes.batches, sizes.blobs) == (2, 2)
    assert sizes.commands == sum(one.header.commands for one in bridge.chain.blocks)
    assert 0 < sizes.bare < sizes.carried
    assert sizes.blob_gas == 2 << 17
    assert sizes.gas > 150_000


async def test_a_chain_that_posted_nothing_is_its_genesis() -> None:
    bridge = PostingBridge()
    derivation = await derived(bridge)
    assert derivation.state.head.height == 0
    with pytest.raises(NodeError, match="finalized") as caught:
        await derived(bridge, FINALIZED)
    assert caught.value.number == NOT_ON_L1


async def test_only_what_the_tag_covers_is_derived(bridge: PostingBridge) -> None:
    bridge.post()
    bridge.l1.chain.finalize()
    height = bridge.chain.leader.head.height
    bridge.deposit(ALICE, ETH, 7)
    bridge.block()
    bridge.post()
    assert (await derived(bridge, FINALIZED)).state.head.height == height
    assert (await derived(bridge)).state.head.height == height + 1


async def test_found_blobs_can_be_kept_for_the_next_reader(bridge: PostingBridge) -> None:
    bridge.post()
    archive = Archive(MemoryFiles())
    derivation = bridge.derivation(blobs=bridge.source(archive=archive))
    posted = await derivation.read(LATEST)
    await derivation.run(posted, 1, NOBODY)
    ((name, blob),) = bridge.kept.blobs.items()
    assert archive.read(name) == blob


@pytest.mark.parametrize("at", [1, 131_071])
async def test_a_flipped_byte_of_a_blob_is_refused_with_its_heights(
    bridge: PostingBridge, at: int
) -> None:
    bridge.post()
    ((name, blob),) = bridge.kept.blobs.items()
    bridge.kept.blobs[name] = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
    error = await refusal(bridge)
    assert error.number == BLOB_OTHER
    assert error.text.startswith("batch 1 (blocks 1 to 4): ")
    assert name.hex() in error.text


async def test_a_missing_blob_is_refused_with_its_heights(bridge: PostingBridge) -> None:
    bridge.post()
    bridge.block()
    bridge.post()
    last = list(bridge.kept.blobs)[-1]
    del bridge.kept.blobs[last]
    error = await refusal(bridge)
    assert error.number == BLOB_MISSING
    assert error.text.startswith("batch 2 (blocks 5 to 5): ")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"post_state_root": OTHER}, "post_state_root"), ({"last_hash": OTHER}, "last_hash"),
        ({"withdrawals_root": OTHER}, "withdrawals_root"), ({"last_height": 5}, "last_height"),
        ({"payload_hash": OTHER}, "batch_hash"), ({"l1_hash": OTHER}, "batch_hash"),
        ({"validators_hash": OTHER}, "batch_hash"),
    ],
)  # fmt: skip
async def test_what_a_committee_signed_wrongly_is_refused_by_field_and_height(
    bridge: PostingBridge, changes: dict[str, Any], field: str
) -> None:
    bridge.post(**changes)
    error = await refusal(bridge)
    assert error.number == DERIVED_OTHER
    assert error.text.startswith(f"batch 1, block 4: {field} is ")
    assert (error.facts["height"], error.facts["field"]) == (4, field)


async def test_a_batch_that_says_it_consumed_less_than_its_blocks_is_refused(
    bridge: PostingBridge,
) -> None:
    bridge.post(l1_messages=2, l1_queue_hash=bridge.items[1].queue_hash)
    error = await refusal(bridge)
    assert (error.number, error.facts["field"]) == (DERIVED_OTHER, "l1_messages")


async def test_a_queue_item_that_its_origin_brings_cannot_be_left_behind() -> None:
    bridge = PostingBridge()
    bridge.deposit(ALICE, USD, 1000)
    bridge.deposit(BOB, ETH, 500)
    bridge.block(upto=1)
    bridge.post()
    error = await refusal(bridge)
    assert (error.number, error.facts["reason"]) == (DERIVED_REFUSED, origin.ITEM_SKIPPED)
    assert error.text.startswith("batch 1, block 1: E3023")


def forged(body: BlockBody) -> BlockBody:
    signature = bytearray(body.signatures)
    signature[5] ^= 1
    return body._replace(signatures=bytes(signature))


@pytest.mark.parametrize(
    ("height", "change", "reason"),
    [
        (1, lambda body: body._replace(l1_number=body.l1_number - 1), origin.ORIGIN_OTHER),
        (1, lambda body: body._replace(l1_hash=OTHER), origin.ORIGIN_OTHER),
        (1, lambda body: body._replace(l1_number=10**6), origin.ORIGIN_OTHER),
        (1, lambda body: body._replace(messages=b""), origin.ITEM_SKIPPED),
        (2, lambda body: body._replace(messages=b""), origin.ITEM_SKIPPED),
        (3, forged, SIGNATURE),
        (4, lambda body: body._replace(commands=b"", signatures=b""), None),
        (2, lambda body: body._replace(time=1), 3004),
    ],
)  # fmt: skip
async def test_a_block_that_breaks_a_rule_is_refused_by_its_number(
    bridge: PostingBridge, height: int, change: Any, reason: int | None
) -> None:
    """Whatever the committee signed: the blobs hold other bodies than the blocks it executed."""

    def changed(bodies: list[BlockBody]) -> list[BlockBody]:
        return [change(body) if n == height else body for n, body in enumerate(bodies, 1)]

    bridge.post_payload(changed)
    error = await refusal(bridge)
    if reason is None:
        assert (error.number, error.facts["field"]) == (DERIVED_OTHER, "post_state_root")
    else:
        assert (error.number, error.facts["reason"]) == (DERIVED_REFUSED, reason)
        assert error.text.startswith(f"batch 1, block {height}: E{reason}")


async def test_an_item_that_came_later_than_the_origin_is_refused(bridge: PostingBridge) -> None:
    first = bridge.chain.blocks[0].header

    def earlier(bodies: list[BlockBody]) -> list[BlockBody]:
        return [
            body._replace(l1_number=first.l1_number, l1_hash=first.l1_hash, l1_time=first.l1_time)
            for body in bodies
        ]

    bridge.post_payload(earlier)
    error = await refusal(bridge)
    assert (error.number, error.facts["reason"]) == (DERIVED_REFUSED, origin.ITEM_EARLY)
    assert error.facts["height"] == 2


@pytest.mark.parametrize(
    ("carried", "reason"),
    [
        (b"no frame", payload.NOT_ZSTD), (FRAME[:-1], payload.NOT_ZSTD),
        (zstandard.ZstdCompressor().compress(b"no payload"), payload.PREFIX_FORM),
    ],
)  # fmt: skip
async def test_blobs_that_hold_no_blocks_are_refused(
    bridge: PostingBridge, carried: bytes, reason: int
) -> None:
    bridge.post_as(carried)
    error = await refusal(bridge)
    assert (error.number, error.facts["reason"]) == (DERIVED_REFUSED, reason)
    assert error.text.startswith(f"batch 1 (blocks 1 to 4) cannot be read: E{reason}")


async def test_a_reverted_batch_does_not_count_and_its_successor_does(
    bridge: PostingBridge,
) -> None:
    wrong = bridge.post(post_state_root=OTHER)
    bridge.do("guardian", "revert_by_guardian", 1, wrong.summary)
    del bridge.summaries[1:], bridge.posted[1:]
    bridge.blocks_posted = 0
    bridge.post()
    assert (await derived(bridge)).state.head == bridge.chain.leader.head


async def test_a_frozen_chain_ends_at_its_last_final_batch(bridge: PostingBridge) -> None:
    bridge.post()
    bridge.later(WINDOW)
    bridge.finalize()
    head = bridge.chain.leader.head
    bridge.deposit(ALICE, ETH, 7)
    bridge.block()
    bridge.post()
    bridge.later(FREEZE_AFTER + DEADLINE)
    bridge.freeze()
    derivation = bridge.derivation()
    posted = await derivation.read(LATEST)
    assert (len(posted.batches), posted.final) == (1, 1)
    await derivation.run(posted, 1, NOBODY)
    assert derivation.state.head == head


async def test_an_l1_that_moves_under_the_reader_is_told(bridge: PostingBridge) -> None:
    bridge.post()
    moved: list[int] = []

    def reorganise(header: Header, hashed: bytes) -> None:
        if not moved:
            moved.append(header.height)
            bridge.l1.chain.reorganise(1)

    error = await refusal(bridge, kept=reorganise)
    assert error.number == L1_MOVED


class LyingL1:
    """Passes requests on, and answers through `change`."""

    def __init__(self, bridge: PostingBridge, change: Callable[[str, list[Any], Any], Any]) -> None:
        self.l1, self.change = bridge.l1, change

    async def request(self, method: str, *params: Any) -> Any:
        return self.change(method, list(params), await self.l1.request(method, *params))


def hide(event: str, which: int) -> Callable[[str, list[Any], Any], Any]:
    def change(method: str, params: list[Any], answer: Any) -> Any:
        if method != "eth_getLogs" or "topics" in params[0]:
            return answer
        wanted = [one for one in answer if one["topics"][0] == "0x" + law.topic(event).hex()]
        return [one for one in answer if one != wanted[which]]

    return change


def other_summary(method: str, params: list[Any], answer: Any) -> Any:
    asked = method == "eth_call" and params[0]["data"].startswith(
        "0x" + law.call("summaries", 1).hex()
    )
    return "0x" + OTHER.hex() if asked else answer


def no_transaction(method: str, params: list[Any], answer: Any) -> Any:
    return None if method == "eth_getTransactionByHash" else answer


def no_blobs(method: str, params: list[Any], answer: Any) -> Any:
    if method == "eth_getTransactionByHash":
        return answer | {"blobVersionedHashes": []}
    return answer


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (hide("Queued", -1), NOT_ON_L1), (hide("Queued", 0), L1_INCONSISTENT),
        (hide("Committed", -1), NOT_ON_L1), (other_summary, NOT_ON_L1),
        (no_transaction, NOT_ON_L1), (no_blobs, NOT_ON_L1),
    ],
)  # fmt: skip
async def test_a_client_that_leaves_things_out_is_found(
    bridge: PostingBridge, change: Any, number: int
) -> None:
    bridge.post()
    derivation = bridge.derivation(LyingL1(bridge, change))
    with pytest.raises(NodeError) as caught:
        posted = await derivation.read(LATEST)
        await derivation.run(posted, 1, NOBODY)
    assert caught.value.number == number


async def test_a_client_that_answers_few_blocks_at_once_is_asked_for_fewer(
    bridge: PostingBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.post()
    spans = []

    def bounded(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs":
            first, last = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
            if last - first >= 3:
                raise L1Error(REFUSED, "at most three blocks")
            spans.append((first, last))
        return answer

    monkeypatch.setattr(reading, "SPAN_BLOCKS", 16)
    derivation = bridge.derivation(LyingL1(bridge, bounded))
    posted = await derivation.read(LATEST)
    assert [one.index for one in posted.items] == [0, 1, 2]
    assert len(posted.batches) == 1
    assert len(spans) > 5

    def never(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs" and "topics" not in params[0]:
            raise L1Error(REFUSED, "no logs today")
        return answer

    with pytest.raises(L1Error, match="no logs today"):
        await bridge.derivation(LyingL1(bridge, never)).read(LATEST)


async def test_the_contract_of_another_chain_is_refused(bridge: PostingBridge) -> None:
    bridge.post()
    contract = "0x" + bridge.address.hex()
    other = genesis_of(deposits=[], contract=contract, rate_per_s=77)
    derivation = Derivation(bridge.l1, other, bridge.deployment, bridge.source(), recover_many)
    with pytest.raises(NodeError, match="settles the chain of genesis") as caught:
        await derivation.read(LATEST)
    assert caught.value.number == DEPLOYMENT_OTHER
