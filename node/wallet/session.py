"""One command of a wallet: who signs it, what is shown, and its way into the chain.

What lives here: the order of these. What must never live here: options, or printing of results.

A nonce is taken once a person has agreed, and before anything is signed with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from consensus import layout
from consensus.signatures import address_of, public_key_of
from node.client.client import Client
from node.client.signing import SignedCommand, Signer, sign_group
from node.exceptions import NodeError
from node.wallet.amounts import Terms
from node.wallet.nonces import Nonces
from node.wallet.preview import preview

NOT_CONFIRMED: Final = 7847
NO_KEY: Final = 7849

CERTIFIED: Final = "certified"
SEQUENCED: Final = "sequenced"


@dataclass(frozen=True, slots=True)
class Who:
    """A signer and the highest nonce of its key in the chain."""

    signer: Signer
    used: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command, at the stage that was waited for."""

    height: int
    sequence: int
    stage: str
    is_promised: bool
    events: list[dict[str, Any]]

    @property
    def is_refused(self) -> bool:
        """Whether any operation was refused by the state."""
        return any(event["event"] == "refused" for event in self.events)


async def find_signer(client: Client, secret: bytes, account: int | str | None) -> Who:
    """The owner of an account, or the session key that this secret is on the named account.

    Raises `NodeError` 7849.
    """
    address = "0x" + address_of(public_key_of(secret)).hex()
    found = await client.account(account if account is not None else address)
    if found.address == address:
        return Who(Signer(secret, found.account), found.nonce)
    for key in found.keys:
        if key.address == address:
            return Who(Signer(secret, found.account, key.slot, key.epoch), key.nonce)
    text = f"{address} is neither the owner nor a session key of account {found.account}"
    raise NodeError(NO_KEY, f"{text}; `rialto wallet session list` shows its keys")


async def sign_shown(
    client: Client,
    who: Who,
    nonces: Nonces,
    rows: bytes,
    valid_ms: int,
    agree: Callable[[list[str]], bool],
) -> SignedCommand:
    """Show, ask, take a nonce, sign. Raises `NodeError` 7847 if the answer is no."""
    signer, domain = who.signer, client.domain
    terms, names = Terms(await client.assets(), await client.markets()), await client.names()
    expires = (await client.status()).time + valid_ms
    next_nonce = nonces.peek(_key(client, signer), who.used)
    if not agree(preview(client, signer, names, terms, rows, next_nonce, expires)):
        raise NodeError(NOT_CONFIRMED, "not signed, nothing was sent")
    nonce = nonces.take(_key(client, signer), who.used)
    return sign_group(domain, names, signer, rows, nonce, expires)


async def send(client: Client, command: SignedCommand, stage: str) -> Outcome:
    """Submit, and wait for the stage."""
    placed = await client.submit(command)
    promised = placed.promise is not None
    if stage == SEQUENCED:
        return Outcome(placed.height, placed.sequence, stage, promised, placed.events)
    proven = await client.certified(placed)
    return Outcome(proven.height, placed.sequence, CERTIFIED, promised, proven.shown)


def _key(client: Client, signer: Signer) -> str:
    epoch = "owner" if signer.key == layout.KEY_OWNER else f"{signer.key}.{signer.epoch}"
    return f"0x{client.domain.genesis_hash.hex()}/{signer.account}/{epoch}"
