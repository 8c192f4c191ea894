"""The numbered errors of the network: yours and theirs.

What lives here: one base class and one class per boundary. What must never live here: the numbers;
each is a named constant beside the code that raises it, stable for ever.

| range       | boundary                                            |
| ----------- | --------------------------------------------------- |
| 7600 - 7609 | our own use of the network: names, sizes, files     |
| 7610 - 7629 | bytes on a stream: frames and packed messages       |
| 7630 - 7639 | requests: what a peer refused or did not finish     |
| 7640 - 7649 | connections: unreachable, broken, another chain     |
| 7650 - 7659 | the ingest stream                                   |
"""

from typing import Final


class NetworkError(Exception):
    """Something about the bytes in flight is wrong.

    `number` is stable; `facts` keeps what was seen, by name; the text says what to do about it.
    """

    def __init__(self, number: int, text: str, **facts: object) -> None:
        super().__init__(f"E{number}: {text}")
        self.number: Final = number
        self.text: Final = text
        self.facts: Final = facts


class NetworkMisuse(NetworkError):
    """You broke the rule: a name, size or file that the network cannot use; nothing was sent."""


class PeerFault(NetworkError):
    """They broke the rule, or went away; nothing of what they sent may be used."""
