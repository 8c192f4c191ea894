"""Votes as they come in, until a quorum makes them a certificate.

What lives here: which votes are worth verifying, and the count. What must never live here: the
network, a thread, or the decision to vote.

Theory. A certificate certifies everything below it, and validators repeat the vote for their head.
So the heights that matter are few: above the last certified one, and within a window around our own
head. The window follows the head and not the certified height: after a partition the head may be
thousands of blocks above that, and nobody repeats votes so old. In the window every validator has
one place per height and round; a second vote of the same validator for another hash is proof of its
fault, kept and reported. So memory is bounded by the window and the size of the set, whoever sends
what.
"""

from typing import Final

from consensus.exceptions import InvalidVote
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import Vote

EQUIVOCATION: Final = 7341
WINDOW_HEIGHTS: Final = 64
"""On each side of our head."""
ROUNDS_MAX: Final = 4


class Ballots:
    """Votes by height and round. `floor` is the last certified height, `head` our highest block."""

    def __init__(self, validators: ValidatorSet, floor: int, head: int) -> None:
        self._validators = validators
        self.floor = floor
        self.head = head
        self._votes: dict[tuple[int, int], dict[int, Vote]] = {}
        self.faults: list[tuple[Vote, Vote]] = []

    def __len__(self) -> int:
        return sum(map(len, self._votes.values()))

    def is_wanted(self, vote: Vote) -> bool:
        """Whether the vote could still change anything; cheap."""
        place = (vote.subject.height, vote.subject.round)
        known = self._votes.get(place, {}).get(vote.validator)
        top = max(self.floor, self.head) + WINDOW_HEIGHTS
        return self._lowest < place[0] <= top and place[1] < ROUNDS_MAX and known != vote

    @property
    def _lowest(self) -> int:
        return max(self.floor, self.head - WINDOW_HEIGHTS)

    def add(self, vote: Vote) -> list[Vote]:
        """Count a vote that was wanted and verified; a quorum's votes if it completes one, else [].

        Raises `InvalidVote` 7341 for a validator's second vote for another block, which is kept in
        `faults`.
        """
        place = self._votes.setdefault((vote.subject.height, vote.subject.round), {})
        first = place.setdefault(vote.validator, vote)
        if first.subject != vote.subject:
            if len(self.faults) < len(self._validators):
                self.faults.append((first, vote))
            text = f"validator {vote.validator} voted for two blocks at {vote.subject.height}"
            raise InvalidVote(EQUIVOCATION, f"{text}; keep both votes as proof")
        votes = [one for one in place.values() if one.subject == vote.subject]
        return votes if len(votes) >= self._validators.quorum else []

    def move(self, floor: int, head: int) -> None:
        """Forget what can no longer matter."""
        self.floor, self.head = max(self.floor, floor), max(self.head, head)
        for place in [place for place in self._votes if place[0] <= self._lowest]:
            del self._votes[place]
