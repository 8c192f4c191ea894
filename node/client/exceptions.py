"""What can go wrong between a client and a node.

What lives here: the client's own errors, 7800 - 7839, and the node's refusals with the node's
numbers. What must never live here: an error of one wallet command.
"""

from typing import Any, Final

from node.exceptions import NodeError

UNREACHABLE: Final = 7800
BAD_URL: Final = 7801
BAD_ANSWER: Final = 7802
OUTCOME_UNKNOWN: Final = 7803
NOT_PROVEN: Final = 7804
READER_SLOW: Final = 7805
WRONG_CHAIN: Final = 7806
BOOK_DIFFERS: Final = 7807
NO_FEEDS: Final = 7808
NOT_CERTIFIED: Final = 7809


class ClientError(NodeError):
    """The connection, the node's behaviour, or our use of it."""


class Unanswered(ClientError):
    """A call that was sent, or could not be; the node may have acted on it."""


class Refused(NodeError):
    """The node answered with an error: `number` is its code, `data` what it added."""

    def __init__(self, number: int, text: str, data: Any = None) -> None:
        super().__init__(number, text)
        self.data: Final = data


class NotProven(ClientError):
    """What the node said does not hold: a promise, a receipt, or a certificate.

    `facts` has both sides; signed ones are evidence against who signed them.
    """

    def __init__(self, text: str, **facts: object) -> None:
        super().__init__(NOT_PROVEN, text, **facts)
