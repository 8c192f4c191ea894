"""Whatever happens in whatever order, what L1 holds is what L2 owes, to the last atom; and when
everybody has left a frozen chain, nothing is left."""

from random import Random

import pytest
from bridge_chain import ETH, EVENT_BYTES, OWNERS, SCALE, USD, WINDOW, Bridge, deposited, parsed
from l1_wallets import reason
from signed_chain import address

from consensus import layout
from consensus.commands import withdraw
from node.l1 import contract as law
from node.l1.surface import L1Error

ASSETS = (USD, ETH)


class Walk:
    """A bridge, chance, and what must be true after every step."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = Random(seed)
        self.bridge = Bridge()
        self.unclaimed: set[tuple[int, int]] = set()

    def owed(self, asset: int) -> int:
        """Atoms: on L2, on their way there, and withdrawn but not yet paid."""
        bridge = self.bridge
        M = bridge.chain.leader.memory.M
        record = layout.AT_ASSETS + 16 * asset
        total = int(M[record + layout.ASSET_DEPOSITED] - M[record + layout.ASSET_WITHDRAWN])
        for item in bridge.items[bridge.chain.queued :]:
            key, _, rows = parsed(item.rows)
            if key == layout.KEY_DEPOSIT and deposited(rows)[0] == asset:
                total += deposited(rows)[1]
        events, paid = b"".join(bridge.withdrawn.values()), self.claimed
        for at in range(0, len(events), EVENT_BYTES):
            event = events[at : at + EVENT_BYTES]
            index = int.from_bytes(event[16:24], "little")
            if int.from_bytes(event[36:40], "little") == asset and index not in paid:
                total += int.from_bytes(event[24:32], "little")
        return total

    @property
    def claimed(self) -> set[int]:
        return {
            int.from_bytes(posted.withdrawals[place * EVENT_BYTES + 16 :][:8], "little")
            for number, posted in enumerate(self.bridge.posted)
            if posted is not None
            for place in range(len(posted.withdrawals) // EVENT_BYTES)
            if (number, place) not in self.unclaimed
        }

    def check(self, step: str) -> None:
        bridge = self.bridge
        context = f"seed {self.seed}, after {step}"
        for asset in ASSETS:
            assert bridge.held(asset) == self.owed(asset), context
        assert bridge.tokens(bridge.address) == bridge.held(USD) * SCALE[USD], context
        ether = bridge.held(ETH) * SCALE[ETH] + bridge.read("fees")
        assert bridge.balance() == ether, context

    def step(self) -> str:
        steps = (self.deposit, self.force, self.blocks, self.post, self.final, self.claim)
        chosen = self.chance.choices(steps, (5, 2, 4, 3, 4, 4))[0]
        chosen()
        return chosen.__name__

    def deposit(self) -> None:
        who, asset = self.chance.choice(OWNERS), self.chance.choice(ASSETS)
        self.bridge.deposit(who, asset, self.chance.randint(1, 10**6))

    def force(self) -> None:
        row = withdraw(
            self.chance.choice((*ASSETS, 3)), self.chance.randint(0, 10**6), address(OWNERS[0])
        )
        who = self.chance.choice((*OWNERS, "stranger"))
        self.bridge.do(who, "force", row, value=law.FORCE_FEE_WEI)

    def blocks(self) -> None:
        bridge = self.bridge
        bridge.block()
        accounts = int(bridge.chain.leader.memory.M[layout.ACCOUNTS])
        owners = {}
        for name in OWNERS:
            for account in range(2, accounts):
                at = bridge.settings.accounts_leaf * 32 + 32 * account
                words = bridge.chain.leader.memory.M
                who = int(words[at]) << 104 | int(words[at + 1]) << 48 | int(words[at + 2])
                if who.to_bytes(20, "big") == address(name):
                    owners[account] = name
        for account in sorted(owners):
            if self.chance.random() < 0.5:
                rows = [
                    withdraw(
                        self.chance.choice(ASSETS), self.chance.randint(1, 10**5),
                        address(self.chance.choice(OWNERS)),
                    )
                    for _ in range(self.chance.randint(1, 4))
                ]  # fmt: skip
                bridge.block(bridge.chain.group(account, rows, signer=owners[account]))

    def post(self) -> None:
        bridge = self.bridge
        if bridge.blocks_posted == len(bridge.chain.blocks):
            return
        posted = bridge.commit()
        number = len(bridge.posted) - 1
        self.unclaimed |= {(number, n) for n in range(len(posted.withdrawals) // EVENT_BYTES)}

    def final(self) -> None:
        bridge = self.bridge
        if bridge.read("finalized") < bridge.read("committed"):
            bridge.later(WINDOW)
            bridge.finalize()

    def claim(self) -> None:
        for number, place in sorted(self.unclaimed):
            try:
                self.bridge.withdraw(number, place)
            except L1Error as error:
                assert reason(error) == "not final"
                continue
            self.unclaimed.discard((number, place))
            if self.chance.random() < 0.5:
                return


@pytest.mark.parametrize("seed", range(3))
def test_holdings_equal_what_is_owed_and_a_frozen_chain_pays_all_of_it(
    seed: int, long_run: bool
) -> None:
    walk = Walk(seed)
    for _ in range(200 if long_run else 25):
        walk.check(walk.step())
    bridge = walk.bridge
    # The state that exits open is the last block's: make it final, then stop the chain.
    walk.blocks()
    walk.post()
    while bridge.read("finalized") < bridge.read("committed"):
        walk.final()
    for name in OWNERS:
        bridge.deposit(name, ETH, 5)
    bridge.later(bridge.settings.freeze_after_s + 2)
    bridge.freeze()
    walk.check("the freeze")
    accounts = int(bridge.chain.leader.memory.M[layout.ACCOUNTS])
    for account in range(2, accounts):
        for asset in ASSETS:
            try:
                bridge.do("stranger", "exit", *bridge.exit_arguments(account, asset))
            except L1Error as error:
                assert reason(error) == "held"  # nothing to pay
    final = bridge.summaries[bridge.read("finalized")]
    for item in bridge.items[final.l1_messages :]:
        bridge.do("stranger", "refund", *bridge.refund_arguments(item.index))
    for number, place in sorted(walk.unclaimed):
        bridge.withdraw(number, place)
    assert [bridge.held(asset) for asset in ASSETS] == [0, 0], f"seed {seed}"
    assert bridge.balance() == bridge.read("fees")
    assert bridge.tokens(bridge.address) == 0
