"""One connected client, as the methods see it.

What lives here: the address, what is subscribed, and how to reach it. What must never live here: a
socket or a frame.
"""

from collections.abc import Callable


class Client:
    """`notify` pushes a JSON text; None where nothing can be pushed (HTTP). `on_close` functions
    are called once, when the client is gone; `after_reply` ones when the answer to the present
    message is queued."""

    def __init__(self, host: str, notify: Callable[[bytes], None] | None) -> None:
        self.host = host
        self.notify = notify
        self.on_close: list[Callable[[], None]] = []
        self.after_reply: list[Callable[[], None]] = []
        self.subscriptions: dict[str, Callable[[], None]] = {}

    def close(self) -> None:
        for cancel in list(self.subscriptions.values()):
            cancel()
        self.subscriptions.clear()
        for function in self.on_close:
            function()
        self.on_close.clear()
