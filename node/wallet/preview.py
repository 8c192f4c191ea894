"""What will be signed, for a person's eyes.

What lives here: the lines. What must never live here: another wording than the one that is signed;
amounts in units stand beside it, as this program's reading of what the node lists.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from struct import Struct
from typing import Final

from consensus import layout
from consensus.typed_data import ROW_BYTES, Operation
from node.client.client import Client
from node.client.signing import ListedNames, Signer, words_of
from node.wallet.amounts import Terms

ROW: Final = Struct("<8q")


def preview(
    client: Client, signer: Signer, names: ListedNames, terms: Terms,
    rows: bytes, nonce: int, expires_ms: int,
) -> list[str]:  # fmt: skip
    """One line for the chain, one for who signs, one for each operation."""
    who = "the owner" if signer.key == layout.KEY_OWNER else f"session key {signer.key}"
    expires = datetime.fromtimestamp(expires_ms / 1000, UTC).isoformat(timespec="seconds")
    domain = client.domain
    lines = [
        f"chain    {client.name}, id {domain.chain_id}, genesis 0x{domain.genesis_hash.hex()}",
        f"signer   0x{signer.address.hex()}, {who} of account {signer.account}",
        f"group    nonce {nonce}, void after {expires}",
    ]
    for n, operation in enumerate(words_of(rows, names)):
        row = rows[n * ROW_BYTES : (n + 1) * ROW_BYTES]
        lines.append(f"{n + 1:<8} {', '.join(_words(operation))}")
        lines += [f"         = {text}" for text in _units(row, terms)]
    return lines


def _words(operation: Operation) -> Iterator[str]:
    yield operation.action
    if operation.market:
        yield operation.market
    if operation.side:
        yield operation.side
    if operation.price:
        yield f"price {operation.price}"
    if operation.quantity:
        yield f"quantity {operation.quantity}"
    if operation.terms:
        yield operation.terms


def _units(row: bytes, terms: Terms) -> Iterator[str]:
    words = ROW.unpack(row)
    op = words[0] & 255
    if op == layout.OP_PLACE and words[0] >> 16 & 15 != 2:
        market = terms.market(str(words[0] >> 32 & 0xFFFF))
        price = f" at {terms.price_text(market, words[2])}" if words[2] else ""
        yield f"{terms.size_text(market, words[3])}{price}"
    elif op == layout.OP_TRANSFER:
        yield terms.amount_text(terms.asset(str(words[3])), words[2])
    elif op == layout.OP_WITHDRAW:
        yield terms.amount_text(terms.asset(str(words[1])), words[2])
