"""Calls and feeds over a WebSocket that is opened again whenever it is gone.

What lives here: the connection's life, who waits for which answer, feeds and their names on the
present connection. What must never live here: what a method means, or whether a call may be
repeated: a call whose connection breaks is `Unanswered`, and the caller knows what that means.

The pause before another try doubles from 0.1 s to 5 s and varies by half, so that a thousand
clients of a node that restarts do not come back in one moment.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

import msgspec
import trio
from websockets.exceptions import InvalidState

from node.client.calls import Push, Reply, read_reply, request
from node.client.endpoint import Endpoint, unreachable
from node.client.exceptions import ClientError, Refused, Unanswered
from node.client.feed import Channel, Feed
from node.client.http_link import ANSWER_S_MAX
from node.client.socket import Socket, open_socket

PAUSE_S_FIRST: Final = 0.1
PAUSE_S_MAX: Final = 5.0
CALLS_WAITING_MAX: Final = 4096

Answered = Callable[[Reply | Unanswered], None]


class Link:
    """Run `run` in a nursery. `connections` counts how often it was opened."""

    def __init__(
        self, endpoint: Endpoint, tls: ssl.SSLContext | None = None, answer_s: float = ANSWER_S_MAX
    ) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._answer_s = answer_s
        self._socket: Socket | None = None
        self._opened = trio.Event()
        self._number = 0
        self._waiting: dict[int, Answered] = {}
        self._room = trio.Semaphore(CALLS_WAITING_MAX)
        self._feeds: list[Feed] = []
        self._names: dict[str, Feed] = {}
        self._chance = Random()  # only for pauses
        self.connections = 0
        self.trouble: ClientError | None = None  # why there is no connection now

    async def run(self) -> None:
        """Keep a connection, until cancelled."""
        pause = PAUSE_S_FIRST
        while True:
            try:
                socket = await open_socket(self._endpoint, self._tls)
            except Unanswered as error:
                self.trouble = error
                await trio.sleep(pause * self._chance.uniform(0.5, 1.5))
                pause = min(2 * pause, PAUSE_S_MAX)
                continue
            pause = PAUSE_S_FIRST
            try:
                await self._serve(socket)
            finally:
                self._lost()
                await socket.close()

    async def _serve(self, socket: Socket) -> None:
        self._socket, self.trouble = socket, None
        self.connections += 1
        for feed in self._feeds:
            self._open(feed)
        self._opened.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, socket, nursery.cancel_scope)
            async for text in socket.messages():
                try:
                    self._hear(read_reply(text))
                except ClientError as error:
                    self.trouble = error
                    break
            nursery.cancel_scope.cancel()

    async def _write(self, socket: Socket, scope: trio.CancelScope) -> None:
        await socket.run()
        scope.cancel()

    def _lost(self) -> None:
        self._socket, self._opened = None, trio.Event()
        self._names.clear()
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            answered(self.trouble_now("the connection broke"))

    def trouble_now(self, otherwise: str) -> Unanswered:
        if isinstance(self.trouble, Unanswered):
            return self.trouble
        return unreachable(self._endpoint, otherwise)

    def _hear(self, reply: Reply) -> None:
        if reply.params is not None:
            self._push(reply.params)
        elif reply.id is not None:
            answered = self._waiting.pop(reply.id, None)
            if answered is not None:
                answered(reply)

    def _push(self, push: Push) -> None:
        feed = self._names.get(push.subscription)
        if feed is not None:
            feed.take(push.result)

    # -- calls --------------------------------------------------------------------------------

    async def call(self, method: str, params: object) -> Reply:
        """One call's answer; waits for a connection first. Raises `Unanswered` 7800."""
        found: list[Reply | Unanswered] = []
        arrived = trio.Event()

        def answered(reply: Reply | Unanswered) -> None:
            found.append(reply)
            arrived.set()

        async with self._room:
            number = 0
            with trio.move_on_after(self._answer_s):
                await self._opened.wait()
                number = self._send(method, params, answered)
                await arrived.wait()
            self._waiting.pop(number, None)
        if not found:
            raise self.trouble_now(f"nothing came in {self._answer_s} s")
        if isinstance(found[0], Unanswered):
            raise found[0]
        return found[0]

    def _send(self, method: str, params: object, answered: Answered) -> int:
        self._number += 1
        self._waiting[self._number] = answered
        if self._socket is not None:
            with suppress(InvalidState):  # it is closing: the end of it answers us
                self._socket.send(request(self._number, method, params))
        return self._number

    # -- feeds --------------------------------------------------------------------------------

    def follow(self, channel: Channel) -> Feed:
        """A feed that lives over any number of connections, until `leave`."""
        feed = Feed(channel, self._again)
        self._feeds.append(feed)
        if self._socket is not None:
            self._open(feed)
        return feed

    def leave(self, feed: Feed) -> None:
        self._feeds.remove(feed)
        self._close(feed)

    def _again(self, feed: Feed) -> None:
        self._close(feed)
        if self._socket is not None and feed in self._feeds:
            self._open(feed)

    def _open(self, feed: Feed) -> None:
        """Ask for the channel; its name is known before its first message is looked at."""

        def answered(reply: Reply | Unanswered) -> None:
            if isinstance(reply, Unanswered):
                return  # the next connection asks again
            if reply.error is not None:
                feed.end(Refused(reply.error.code, reply.error.message, reply.error.data))
                return
            name = msgspec.json.decode(reply.result, type=str)
            if feed in self._feeds:
                self._names[name] = feed
            else:
                self._send("clob_unsubscribe", {"subscription": name}, _ignored)

        self._send("clob_subscribe", feed.channel.params(feed.last), answered)

    def _close(self, feed: Feed) -> None:
        for name in [name for name, known in self._names.items() if known is feed]:
            del self._names[name]
            self._send("clob_unsubscribe", {"subscription": name}, _ignored)


def _ignored(reply: Reply | Unanswered) -> None:
    pass
