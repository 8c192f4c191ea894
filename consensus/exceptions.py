"""The numbered errors of the rules.

What lives here: one base class and one class per boundary. What must never live here: the numbers.
Each number is a named constant beside the code that raises it, inside the range of its class, so
that a reader who meets `E1003` finds its rule with one search. A number is stable for ever: it is
never reused for another meaning.

| range       | class              | boundary                                      |
| ----------- | ------------------ | --------------------------------------------- |
| 1000 - 1999 | `InvalidEncoding`  | bytes that are not the one canonical form     |
| 2000 - 2999 | `InvalidSignature` | signatures, typed data, key material          |
| 3000 - 3999 | `InvalidBlock`     | headers, bodies, receipts against the rules   |
| 4000 - 4499 | `NotIncludable`    | a command group that no block may contain     |
| 4500 - 4999 | `InvalidVote`      | validator sets, votes, quorum certificates    |
| 5000 - 5499 | `InvalidProof`     | membership and non-membership proofs          |
| 5500 - 5999 | `InvalidSnapshot`  | snapshots, exports, the integrity walk        |
| 6000 - 6999 | `InvalidGenesis`   | genesis files                                 |
| 8000 - 8999 | `InvalidPayload`   | data-availability payloads                    |
| 9000 -      | `CoreFault`        | we broke our own rule: stop, undo, never vote |

Refusals by state (no funds, no such order, ...) are not errors: the command is in the block, its
nonce is spent and its event carries a refusal number below 1000 (docs/protocol/events.md).
"""

from typing import Final


class ConsensusError(Exception):
    """Somebody broke a rule of the protocol.

    `number` is stable; `facts` keeps what was seen, by name, for programs; the text says what was
    wrong and what to do about it.
    """

    def __init__(self, number: int, text: str, **facts: object) -> None:
        super().__init__(f"E{number}: {text}")
        self.number: Final = number
        self.text: Final = text
        self.facts: Final = facts


class InvalidEncoding(ConsensusError):
    """Bytes that are not the one canonical encoding of a value."""


class InvalidSignature(ConsensusError):
    """A signature, digest or key that does not hold."""


class InvalidBlock(ConsensusError):
    """A header, body or receipt that breaks a block rule."""


class NotIncludable(ConsensusError):
    """A command group that no valid block may contain."""


class InvalidVote(ConsensusError):
    """A validator set, vote, seal or certificate that does not hold."""


class InvalidProof(ConsensusError):
    """A proof that does not lead to the root it claims."""


class InvalidSnapshot(ConsensusError):
    """A snapshot or export that is damaged, foreign or not canonical."""


class InvalidGenesis(ConsensusError):
    """A genesis file with a field that cannot be used."""


class InvalidPayload(ConsensusError):
    """A data-availability payload that is not canonical."""


class CoreFault(ConsensusError):
    """Our own code broke an invariant; the state must be undone and nothing signed."""
