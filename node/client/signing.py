"""From operations to a signed group, with the words that the signature covers.

What lives here: names as the node lists them, who signs, the two digests. What must never live
here: where the secret comes from, which nonce is next (`nonces`), or sending.

Theory. The digest is computed here from rows and from names, never taken from the node. Names are
the node's word, but words that are not what the chain renders give a signature that the chain
refuses: a node that lies about a name gets nothing signed that could be executed as something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.commands import Group
from consensus.finality.promises import command_hash
from consensus.layout import ALL_MARKETS, KEY_OWNER
from consensus.signatures import address_of, address_words, public_key_of, sign
from consensus.typed_data import (
    ROW_BYTES,
    Domain,
    Operation,
    digest,
    domain_separator,
    session_digest,
)
from consensus.wording import Names, render
from node.client.answers import Asset, Market


class ListedNames(Names):
    """Names from `clob_assets` and `clob_markets` in the place of those in a state."""

    __slots__ = ("_asset_names", "_market_names")

    def __init__(self, assets: Sequence[Asset], markets: Sequence[Market]) -> None:
        self._asset_names = {one.asset: one.name for one in assets}
        self._market_names = {one.market: one.name for one in markets}

    def asset(self, number: int) -> str:
        return self._asset_names.get(number, f"asset {number}")

    def market(self, number: int) -> str:
        if number == ALL_MARKETS:
            return "all markets"
        return self._market_names.get(number, f"market {number}")


@dataclass(frozen=True, slots=True)
class Signer:
    """A secret and what it is on the chain: key 0 the account's owner, 1 to 4 a session key."""

    secret: bytes
    account: int
    key: int = KEY_OWNER
    epoch: int = 0  # of a session key's grant

    @property
    def address(self) -> bytes:
        return address_of(public_key_of(self.secret))


@dataclass(frozen=True, slots=True)
class SignedCommand:
    """A group and its canonical signature."""

    group: Group
    signature: bytes

    @property
    def hash(self) -> bytes:
        """What promises name it by."""
        return command_hash(self.group.rows, self.signature)

    def params(self) -> dict[str, object]:
        """What `clob_submit` takes."""
        return {"group": "0x" + self.group.rows.hex(), "signature": "0x" + self.signature.hex()}


def words_of(rows: bytes, names: Names) -> list[Operation]:
    """What a person is shown for each row."""
    return [render(rows[at : at + ROW_BYTES], names) for at in range(0, len(rows), ROW_BYTES)]


def sign_group(
    domain: Domain, names: Names, signer: Signer, rows: bytes, nonce: int, expires_ms: int
) -> SignedCommand:
    """The rows as one group. Raises `InvalidSignature` for what no digest holds."""
    address = signer.address
    group = Group(signer.key, signer.account, nonce, expires_ms, address_words(address), rows)
    if signer.key == KEY_OWNER:
        words = words_of(rows, names)
        signed = digest(domain_separator(domain), address, nonce, expires_ms, words)
    else:
        place = (signer.account, signer.key, signer.epoch)
        signed = session_digest(domain.genesis_hash, *place, nonce, expires_ms, rows)
    return SignedCommand(group, sign(signer.secret, signed))
