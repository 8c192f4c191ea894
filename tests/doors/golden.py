"""The golden vectors of layout, commands, forks and a small chain, made from the code.

What lives here: one function for each file of tests/vectors/ that `test_golden.py` recomputes. What
must never live here: a judgement. A vector that changed is another format: bytes that others have
stored or signed no longer mean what they meant. If that is meant, and the documents and version
numbers say so, `python tests/doors/golden.py` writes the files anew.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from struct import iter_unpack
from typing import Any, Final

from signed_chain import (
    BTC,
    FIRST_OWNER,
    USD,
    Signed,
    SignedChain,
    address,
    genesis_value,
    owner,
    private_key,
)

from consensus import commands, layout, receipts
from consensus.authority import context_of, epoch_of, group_digest
from consensus.block import ROW_BYTES, Header, block_hash, encode_block, encode_header
from consensus.chain import State
from consensus.commands import Group
from consensus.da import payload
from consensus.forks import KNOWN, Fork, Schedule
from consensus.signatures import address_words, sign
from consensus.state.export import export
from consensus.state.memory import Sizes, ledger_offsets
from consensus.state.shape import Shape, market_offsets
from consensus.state.statements import prove_account
from consensus.wording import render

VECTORS: Final = Path(__file__).parents[1] / "vectors"
SCRATCH: Final = ("S_", "EVENTS_MAX", "CTZ_FACTOR", "_")
A, B = FIRST_OWNER, FIRST_OWNER + 1
EXPIRES: Final = 1_735_700_000_000
GOVERN: Final = commands.operation
SMALL: Final = 2 | 0 << 8 | 8 << 16 | 6 << 24 | 6 << 32

Vector = dict[str, Any]


def layout_vector() -> Vector:
    """Every constant that the state or a row or an event depends on, and where parts begin."""
    names = {value: name for name, value in vars(layout).items() if name.startswith("AT_")}
    constants = {
        name: str(value)
        for name, value in vars(layout).items()
        if isinstance(value, int) and not name.startswith(SCRATCH)
    }
    ledgers = (Sizes(4, 4, 64, 32), Sizes(8, 16, 1024, 256), Sizes(64, 4096, 1 << 20, 4096))
    shapes = (Shape(6, 6, 6), Shape(12, 6, 6), Shape(24, 18, 12), Shape(28, 20, 16))
    return {
        "layout_version": layout.LAYOUT_VERSION,
        "constants": constants,
        "ledgers": [
            {"sizes": list(vars(sizes).values()), "offsets": {
                names.get(word, "END"): at for word, at in ledger_offsets(sizes).items()}}
            for sizes in ledgers
        ],
        "markets": [
            {"bits": list(shape), "accounts_max": 1024, "words": market_offsets(shape, 1024)[1],
             "header": {str(word): at for word, at in market_offsets(shape, 1024)[0].items()}}
            for shape in shapes
        ],
        "handles": [
            {"generation": generation, "slot": slot, "handle": str(generation << 24 | slot)}
            for generation, slot in ((1, 1), (1, 63), (2, 1), ((1 << 30) - 1, (1 << 20) - 1))
        ],
    }  # fmt: skip


def sample_rows() -> dict[str, bytes]:
    """A row of every operation, with every field of a placement at work."""
    words = address_words(address("home"))
    handle = 3 << 24 | 17
    return {
        "place": commands.place(0, layout.SELL, 5, 6_500, 250, stp=4, post=2, display=10,
                                expires=EXPIRES),
        "place, market": commands.place(0, layout.BUY, 6, 4_094, 9, tif=1, kind=1, minimum=2),
        "place, budget": commands.place(0, layout.BUY, 7, 0, 1 << 61, tif=1, kind=2),
        "place, reduce only": commands.place(3, layout.SELL, (1 << 53) - 1, 1, 1, tif=2,
                                             reduce_only=True),
        "amend": commands.amend(0, handle, 6_400, 200),
        "amend by client id": commands.amend_client(5, 6_400, 0),
        "cancel": commands.cancel(0, handle),
        "cancel by client id": commands.cancel_client(5),
        "cancel all": commands.cancel_all(first_slot=7),
        "transfer": commands.transfer(3, 1_000, USD),
        "withdraw": commands.withdraw(BTC, 1_000, address("home")),
        "grant": commands.grant(2, address("home"), expires=EXPIRES, cap=10**9, markets=1,
                                quote=USD, reduce_only=True),
        "revoke": commands.revoke(2),
        "dead-man": commands.deadman(EXPIRES),
        "settings": commands.settings(3),
        "deposit": GOVERN(layout.OP_DEPOSIT, *words, USD, 77),
        "list asset": GOVERN(layout.OP_LIST_ASSET, 0x45544800000000, 4, 1),
        "list market": GOVERN(layout.OP_LIST_MARKET, SMALL, 10, 1, 10, 1000, 16 << 20, 90),
        "fees": GOVERN(layout.OP_FEES, 1, 500, -20),
        "market status": GOVERN(layout.OP_MARKET_STATUS, 1),
        "chain status": GOVERN(layout.OP_CHAIN_STATUS, 1),
        "validators": GOVERN(layout.OP_VALIDATORS, 1, 2, -3, 4, -5),
        "parameter": GOVERN(layout.OP_PARAMETER, 4, 64),
        "tier": GOVERN(layout.OP_TIER, 2, 3),
        "market limits": GOVERN(layout.OP_MARKET_LIMITS, 10, 50_000, 16),
        "governor": GOVERN(layout.OP_GOVERNOR, *words),
    }  # fmt: skip


def commands_vector() -> Vector:
    """Rows, the words a wallet shows for them, and what keys sign, on the chain of chain.json."""
    chain = SignedChain()
    chain.step([chain.group(A, [session_grant()])])
    state = chain.leader
    context = context_of(state)
    rows = sample_rows()
    shown = {name: render(row, context.names)._asdict() for name, row in rows.items()}
    for words in shown.values():
        del words["row"]
        words["price"], words["quantity"] = str(words["price"]), str(words["quantity"])
    of_account = [row for row in rows.values() if row[0] < layout.OP_DEPOSIT]
    of_session = [row for row in rows.values() if row[0] <= layout.OP_CANCEL_ALL]
    governing = [row for row in rows.values() if row[0] > layout.OP_DEPOSIT]
    groups = {
        "owner": (chain.group(A, of_account, nonce=9, expires=EXPIRES), owner(A)),
        "session": (chain.group(A, of_session, key=1, nonce=(1 << 53) - 1, expires=EXPIRES),
                    f"session {A} 1"),
        "governance": (chain.govern(*governing, nonce=1, expires=0), "governor"),
    }  # fmt: skip
    return {
        "chain": "block 1 of chain.json",
        "separator": state.chain.separator.hex(),
        "operations": {name: {"row": row.hex(), **shown[name]} for name, row in rows.items()},
        "groups": {
            name: described(state, group, private_key(signer), signature)
            for name, ((group, signature), signer) in groups.items()
        },
    }


def described(state: State, group: Group, key: bytes, signature: bytes) -> Vector:
    digest = group_digest(state.memory.M, context_of(state), group)
    assert sign(key, digest) == signature
    return {
        "private_key": key.hex(),
        "signer": group.owner().hex(),
        "epoch": epoch_of(state.memory.M, group.account, group.key) if 0 < group.key < 5 else 0,
        "rows": group.rows.hex(),
        "digest": digest.hex(),
        "signature": signature.hex(),
    }


def forks_vector() -> Vector:
    """Fork ids by genesis hash, and the rules at heights."""
    schedule = Schedule((Fork("canal", 0, *KNOWN["canal"]),))
    hashes = (bytes(32), bytes(range(32)), b"\xff" * 32)
    heights = (0, 1, (1 << 53) - 1)
    return {
        "known": {name: list(rules) for name, rules in KNOWN.items()},
        "forks": [list(vars_of(fork)) for fork in schedule.forks],
        "fork_ids": {h.hex(): schedule.fork_id(h).hex() for h in hashes},
        "versions": {str(height): schedule.at(height).version for height in heights},
    }


def vars_of(fork: Fork) -> tuple[str, int, int, int]:
    return fork.name, fork.height, fork.version, fork.layout


# -- the chain ----------------------------------------------------------------------------------


def session_grant() -> bytes:
    who = address(f"session {A} 1")
    return commands.grant(1, who, expires=EXPIRES, cap=10**12, markets=1, quote=USD)


def steps(chain: SignedChain) -> list[Callable[[], tuple[list[Signed], bytes]]]:
    """What each block after genesis carries."""
    place, buy, sell = commands.place, layout.BUY, layout.SELL
    return [
        lambda: ([chain.group(A, [session_grant()])], b""),
        lambda: (
            [
                chain.group(B, [place(0, sell, 1, 1_000, 50), place(0, sell, 2, 1_001, 70,
                                                                    display=10)]),
                chain.group(A, [place(0, buy, 1, 1_001, 65), commands.deadman(0)], key=1),
                chain.group(B, [commands.cancel_client(2), place(0, sell, 2, 1_005, 7)]),
            ],
            chain.deposit("newcomer", USD, 500) + chain.forced(owner(A), commands.settings(2)),
        ),
        lambda: (
            [
                chain.govern(
                    GOVERN(layout.OP_LIST_ASSET, 0x45544800000000, 4, 1),
                    GOVERN(layout.OP_LIST_MARKET, SMALL, 10, 1, 10, 1000, 16 << 20, 90),
                    GOVERN(layout.OP_MARKET_STATUS, 0, market=1),
                ),
                chain.group(A, [commands.withdraw(USD, 40, address("home")), commands.revoke(1)]),
                chain.group(B, [commands.transfer(A, 10**10, USD), commands.transfer(A, 9, USD),
                                place(1, buy, 3, 90, 1)]),
            ],
            b"",
        ),
        lambda: ([], b""),
    ]  # fmt: skip


def chain_vector() -> Vector:
    """Genesis, four blocks, their events and receipts, and what the last state gives."""
    chain = SignedChain()
    blocks: list[Vector] = [{
        "header": encode_header(chain.leader.head).hex(),
        "hash": chain.leader.head_hash.hex(),
    }]  # fmt: skip
    bodies = []
    for step in steps(chain):
        signed, messages = step()
        outcome = chain.step(signed, messages, listing_room=1 << 16)
        block = chain.blocks[-1]
        blocks.append(described_block(encode_block(block), block.header, outcome.events))
        bodies.append(
            payload.BlockBody(
                block.header.time, block.header.round, block.header.proposer,
                block.header.l1_number, block.header.l1_hash, block.header.l1_time,
                block.messages, block.commands, block.signatures,
            )
        )  # fmt: skip
    memory = chain.follower.memory
    return {
        "genesis": genesis_value(),
        "genesis_hash": chain.genesis.hash.hex(),
        "private_keys": {name: private_key(name).hex() for name in ("governor", owner(A))},
        "blocks": blocks,
        "payload_sha256": sha256(payload.encode(bodies)).hexdigest(),
        "export_sha256": sha256(export(memory)).hexdigest(),
        "account_proof": prove_account(memory, address(owner(A))).encode().hex(),
    }


def described_block(data: bytes, header: Header, events: bytes) -> Vector:
    sequences = range(header.sequence - header.commands + 1, header.sequence + 1)
    handles = [
        str(words[2])
        for words in iter_unpack("<8q", events)
        if words[0] & 255 == layout.EVENT_RESTED
    ]
    return {
        "block": data.hex(),
        "hash": block_hash(header).hex(),
        "state_root": header.state_root.hex(),
        "events": [events[at : at + ROW_BYTES].hex() for at in range(0, len(events), ROW_BYTES)],
        "handles": handles,
        "receipts": {
            str(sequence): receipts.encode_receipt(receipts.make(header, events, sequence)).hex()
            for sequence in list(sequences)[:3]
        },
    }


FILES: Final[dict[str, Callable[[], Vector]]] = {
    "layout.json": layout_vector,
    "commands.json": commands_vector,
    "forks.json": forks_vector,
    "chain.json": chain_vector,
}


def text_of(vector: Vector) -> str:
    return json.dumps(vector, indent=1) + "\n"


if __name__ == "__main__":
    for name, make in FILES.items():
        (VECTORS / name).write_text(text_of(make()), encoding="ascii")
