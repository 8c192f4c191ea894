"""Traders on a dev chain: what to sign with, and the commands they sign.

What lives here: signing and nonces. What must never live here: an expectation.
"""

from dataclasses import dataclass, field

from consensus import commands
from node.client.client import Client
from node.client.signing import ListedNames, SignedCommand, Signer, sign_group
from node.wallet.dev_accounts import dev_accounts

VALID_MS = 600_000


@dataclass
class Trader:
    """Dev account `number` on the chain of a client."""

    client: Client
    signer: Signer
    names: ListedNames
    expires: int
    nonce: int = 0
    clients: int = field(default=0)

    def sign(self, *rows: bytes) -> SignedCommand:
        self.nonce += 1
        domain, expires = self.client.domain, self.expires
        return sign_group(domain, self.names, self.signer, b"".join(rows), self.nonce, expires)

    def order(self, side: int, price: int, lots: int = 1000, market: int = 0) -> SignedCommand:
        self.clients += 1
        return self.sign(commands.place(market, side, self.clients, price, lots))


async def trader(client: Client, number: int) -> Trader:
    account = dev_accounts(number + 1)[number]
    found = await client.account("0x" + account.address.hex())
    signer = Signer(account.secret, found.account)
    expires = (await client.status()).time + VALID_MS
    return Trader(client, signer, await client.names(), expires, found.nonce)
