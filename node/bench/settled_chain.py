"""A chain and its contract on an embedded L1, for measuring what calls cost.

What lives here: money in, blocks, batches and their commits, each made by the node's own parts.
What must never live here: a figure.

One account does everything on L1. The clock stands but when `later` turns it, and each transaction
is a block.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from typing import Final

from consensus.authority import context_of, group_digest, verify_groups
from consensus.block import Block
from consensus.chain import State, genesis_state
from consensus.commands import Group
from consensus.da import kzg
from consensus.genesis import Genesis, parse
from consensus.layout import KEY_OWNER
from consensus.proposal import Opening, Proposal
from consensus.rollup.batch import batch_hash
from consensus.rollup.origin import AddressOrder, Origin, place_messages
from consensus.signatures import address_of, address_words, public_key_of, recover_many, sign
from node.l1 import contract as law
from node.l1 import tokens, trusted_setup
from node.l1.account import Account
from node.l1.batches import Range, draft
from node.l1.contract import Place
from node.l1.deploying import Plan, deploy, next_contract
from node.l1.deployment import Deployment
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.history import History, read_history
from node.l1.payments import deposit_calls
from node.l1.transactions import Call, Fees, Sidecar, sign_call

START_S: Final = 1_735_700_000
WINDOW_S: Final = 600
FREEZE_AFTER_S: Final = 10_000
TIMES: Final = {
    "window_s": WINDOW_S, "deadline_s": 3600, "freeze_after_s": FREEZE_AFTER_S,
    "delay_s": 20_000, "bond": 10**18,
}  # fmt: skip
BLOCK_MS: Final = 250
GROUP_LIFE_MS: Final = 60_000
GAS: Final = 3_000_000
FEES: Final = Fees(tip=10**9, max_fee=10**11, max_blob_fee=10**11)
TOKEN_UNITS: Final = 10**15
USD, BTC = 0, 1
FIRST_OWNER: Final = 2


def secret_of(name: str) -> bytes:
    return sha256(f"rialto/bench/{name}".encode("ascii")).digest()


class SettledChain:
    """Make one with `settled_chain`."""

    def __init__(
        self,
        l1: EmbeddedL1,
        account: Account,
        genesis: Genesis,
        deployment: Deployment,
        deployed_gas: int,
        members: dict[bytes, bytes],
    ) -> None:
        self.l1: Final = l1
        self.account: Final = account
        self.deployment: Final = deployment
        self.deployed_gas: Final = deployed_gas
        self.state: Final[State] = genesis_state(genesis)
        self.withdrawals = b""
        """Of the last batch."""
        self._genesis: Final = genesis
        self._members: Final = members
        self._order: Final = AddressOrder()
        self._parent: Final = [self.state.head]
        self._blocks: list[Block] = []
        self._withdrawn: list[bytes] = []
        self._nonce = 0

    # L1

    async def do(self, call: Call) -> int:
        """The gas that the call took."""
        return int((await self.account.do(call))["gasUsed"], 16)

    async def deposit(self, asset: int, atoms: int) -> int:
        """The gas of the deposit; an approval before it is not counted."""
        made = await deposit_calls(self.l1, self.deployment, self.account.address, asset, atoms)
        return [await self.do(call) for call in made][-1]

    async def history(self) -> History:
        return await read_history(self.l1, self.deployment)

    def later(self, seconds: int) -> None:
        self.l1.chain.advance(seconds)

    # L2

    async def block(self, operations: Sequence[bytes] = ()) -> None:
        """A block with the queue's new items and, if any, one group of the account's owner."""
        state = self.state
        time = state.head.time + BLOCK_MS
        head = await self.l1.request("eth_getBlockByNumber", "latest", False)
        origin = Origin(
            int(head["number"], 16), bytes.fromhex(head["hash"][2:]), int(head["timestamp"], 16)
        )
        items = (await self.history()).items[state.head.l1_messages :]
        messages = place_messages(state, time, origin, items, self._order)
        signed = [self._group(time, operations)] if operations else []
        proposal = Proposal(state, Opening(time, origin.number, origin.hash, origin.time), messages)
        for group in verify_groups(state, signed, recover_many):
            assert group is not None, "a group that was just signed does not verify"
            proposal.add(group)
        block, outcome = proposal.seal()
        self._blocks.append(block)
        self._withdrawn.append(outcome.withdrawals)

    def _group(self, time: int, operations: Sequence[bytes]) -> tuple[Group, bytes]:
        self._nonce += 1
        signer = address_words(self.account.address)
        group = Group(
            KEY_OWNER, FIRST_OWNER, self._nonce, time + GROUP_LIFE_MS, signer, b"".join(operations)
        )
        digest = group_digest(self.state.memory.M, context_of(self.state), group)
        return group, sign(secret_of("account"), digest)

    # Batches

    async def commit(self, signers: int, blobs: int = 1) -> int:
        """The gas of posting all new blocks, signed by so many members, in so many blobs."""
        history = await self.history()
        number = len(history.summaries)
        self.withdrawals = b"".join(self._withdrawn)
        taken = Range(self._parent[-1], tuple(self._blocks), self.withdrawals)
        made = draft(number, taken, self._genesis.settlement)
        sidecar = sidecar_of(made.blobs * blobs)
        batch = made.with_commitments(sidecar.commitments)
        text = law.attestation(
            self.deployment.chain_id, self.deployment.contract, law.QUORUM, 1, batch_hash(batch)
        )
        some = dict(list(self._members.items())[:signers])
        signed = law.signed_by(text, list(self._members), some)
        count = batch.l1_messages
        left = history.items[count] if count < len(history.items) else None
        last = history.items[count - 1].time if count else 0
        place = Place(last, left.queue_hash, left.time) if left else Place(last)
        data = law.call("commit", law.batch_words(batch), history.summaries[-1], place, signed)
        nonce = await self.account.nonce()
        call = Call(self.deployment.contract, data, 0, GAS)
        raw = sign_call(secret_of("account"), self.deployment.chain_id, nonce, call, FEES, sidecar)
        await self.l1.request("eth_sendRawTransaction", "0x" + raw.raw.hex())
        self._parent.append(self.state.head)
        self._blocks, self._withdrawn = [], []
        return int((await self.account.mined(raw.hash))["gasUsed"], 16)

    async def finalize(self) -> int:
        """The gas of finalizing the next batch, whose window is over then."""
        self.later(WINDOW_S)
        history = await self.history()
        number = history.final + 1
        data = law.call("finalize", number, history.summaries[number])
        return await self.do(Call(self.deployment.contract, data))


async def settled_chain(members: int) -> SettledChain:
    """A chain without money, its contract and a token of the account."""
    secret = secret_of("account")
    owner = address_of(public_key_of(secret))
    l1 = EmbeddedL1({owner: 10**24}, clock=lambda: START_S, epoch_blocks=1)
    account = Account(l1, secret)
    made = await account.do(Call(b"", tokens.creation("USD", 6)))
    token = bytes.fromhex(made["contractAddress"][2:])
    await account.do(Call(token, tokens.mint(TOKEN_UNITS)))
    value = json.loads(resources.files("genesis").joinpath("minimal.json").read_text("ascii"))
    value |= {"contract": "0x" + (await next_contract(account)).hex(), "deposits": []}
    genesis = parse(json.dumps(value).encode("ascii"))
    keys = [secret_of(f"member {n}") for n in range(members)]
    known = dict(sorted((address_of(public_key_of(key)), key) for key in keys))
    assets = {"USD": token, "BTC": tokens.ETHER}
    plan = Plan(tuple(known), secret_address("guardian"), secret_address("governor"), assets, TIMES)
    deployment, gas = await deploy(l1, account, genesis, plan)
    return SettledChain(l1, account, genesis, deployment, gas, known)


def secret_address(name: str) -> bytes:
    return address_of(public_key_of(secret_of(name)))


def sidecar_of(blobs: Sequence[bytes]) -> Sidecar:
    """With cell proofs, as from Osaka on."""
    setup = trusted_setup.load()
    one = {blob: kzg.extend(blob, setup) for blob in set(blobs)}
    done = [one[blob] for blob in blobs]
    proofs = tuple(proof for extended in done for proof in extended.proofs)
    return Sidecar(1, tuple(blobs), tuple(extended.commitment for extended in done), proofs)
