"""WebSocket: frames, limits, liveness, slow readers, TLS, and the end of the server."""

import gc
import ssl
import subprocess
from pathlib import Path

import pytest
import trio
import trio.testing
from sockets import Methods, Socket, call, http, request, serving, socket
from websockets.frames import Frame, Opcode

from node.rpc import server as server_module
from node.rpc import websocket as websocket_module
from node.rpc.outbox import UNREAD_BYTES_MAX
from node.rpc.server import tls_context
from node.rpc.websocket import MESSAGE_BYTES_MAX

METHODS = Methods().named()


async def test_calls_of_one_read_are_answered_in_order() -> None:
    async with serving(METHODS) as on, socket(on) as client:
        for n in range(50):
            client.protocol.send_text(call("echo", [n], n).encode())
        await client.flush()
        assert [(await client.message())["result"] for _ in range(50)] == [[n] for n in range(50)]


async def test_a_message_may_come_in_pieces_and_pings_between_them() -> None:
    async with serving(METHODS) as on, socket(on) as client:
        text = call("echo", ["in pieces"]).encode()
        await client.send_frame(Opcode.TEXT, text[:5], fin=False)
        await client.send_frame(Opcode.PING, b"still there?")
        await client.send_frame(Opcode.CONT, b"", fin=False)
        await client.send_frame(Opcode.CONT, text[5:9], fin=False)
        await client.send_frame(Opcode.CONT, text[9:])
        assert (await client.message())["result"] == ["in pieces"]


async def test_a_binary_message_is_as_good() -> None:
    async with serving(METHODS) as on, socket(on) as client:
        await client.send_frame(Opcode.BINARY, call("echo", [1]).encode())
        assert (await client.message())["result"] == [1]


async def test_the_largest_message_is_taken_and_one_byte_more_is_not() -> None:
    async with serving(METHODS) as on:
        text = call("note", ["x"]).encode()
        async with socket(on) as client:
            await client.send(text + b" " * (MESSAGE_BYTES_MAX - len(text)))
            assert (await client.message())["result"] is True
            await client.send(text + b" " * (MESSAGE_BYTES_MAX - len(text) + 1))
            assert await client.close_code() == 1009


async def test_all_pieces_together_are_limited() -> None:
    async with serving(METHODS) as on, socket(on) as client:
        piece = b" " * (MESSAGE_BYTES_MAX // 4)
        await client.send_frame(Opcode.TEXT, piece, fin=False)
        for _ in range(4):
            await client.send_frame(Opcode.CONT, piece, fin=False)
        assert await client.close_code() == 1009


async def test_a_hundred_thousand_tiny_pieces_cost_no_more_than_their_bytes() -> None:
    async with serving(METHODS) as on, socket(on) as client, socket(on) as other:
        tiny = Frame(Opcode.CONT, b" ", False).serialize(mask=True)
        empty = Frame(Opcode.CONT, b"", False).serialize(mask=True)
        await client.send_frame(Opcode.TEXT, b"", fin=False)
        with trio.fail_after(20):
            await client.stream.send_all((tiny + empty) * 100_000)
            assert (await other.call("echo", [1]))["result"] == [1]
            await client.send_frame(Opcode.CONT, call("echo", [2]).encode())
            assert (await client.message())["result"] == [2]


async def test_a_frame_of_200_mb_is_refused_at_its_header() -> None:
    async with serving(METHODS) as on, socket(on) as client:
        header = b"\x81\xff" + (200 << 20).to_bytes(8, "big") + b"mask"
        await client.stream.send_all(header + bytes(1 << 16))
        assert await client.close_code() == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x83\x80mask", 1002),  # an opcode that is none
        (b"\xf1\x80mask", 1002),  # reserved bits
        (b"\x81\x01x", 1002),  # not masked
        (b"\x09\x80mask", 1002),  # a ping in pieces
        (b"\x89\xfe\x00\x7emask" + bytes(126), 1002),  # a ping that is too long
        (b"\x80\x80mask", 1002),  # goes on where nothing began
        (b"\x01\x80mask\x81\x80mask", 1002),  # begins where something goes on
        (b"\x88\x81mask\0", 1002),  # a close of one byte
    ],
)
async def test_a_bad_frame_ends_the_connection_with_its_code(data: bytes, code: int) -> None:
    async with serving(METHODS) as on, socket(on) as client:
        await client.stream.send_all(data)
        assert await client.close_code() == code


@pytest.mark.parametrize("pieces", [1, 2])
async def test_text_that_is_not_utf8_is_refused(pieces: int) -> None:
    async with serving(METHODS) as on, socket(on) as client:
        if pieces == 1:
            await client.send_frame(Opcode.TEXT, b'{"method":"\xff"}')
        else:
            await client.send_frame(Opcode.TEXT, b'{"method":"\xe2\x82', fin=False)
            await client.send_frame(Opcode.CONT, b'"}')
        assert await client.close_code() == 1007


async def test_nothing_behind_a_refused_message_is_heard() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, socket(on) as client:
        bad = Frame(Opcode.TEXT, b"\xff").serialize(mask=True)
        late = Frame(Opcode.TEXT, call("note", ["late"]).encode()).serialize(mask=True)
        await client.stream.send_all(bad + late)
        assert await client.close_code() == 1007
    assert methods.notified == []


async def test_a_call_right_before_the_close_is_still_done_and_answered() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, socket(on) as client:
        client.protocol.send_text(call("note", ["last"]).encode())
        client.protocol.send_close(1000)
        await client.flush()
        assert (await client.message())["result"] is True
        assert await client.close_code() == 1000
    assert methods.notified == [["last"]]


async def test_an_answer_after_the_close_goes_nowhere() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, socket(on) as client:
        await client.send(call("later"))
        while not methods.kept:
            await trio.sleep(0)
        client.protocol.send_close(1000)
        await client.flush()
        assert await client.close_code() == 1000
        methods.kept[0].finish(lambda: "late")
        assert not [one for one in client.frames if one.opcode is Opcode.TEXT]
        assert on.failures == 0


@pytest.mark.parametrize(
    "headers",
    [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: short\r\n",
    ],
)
async def test_a_bad_handshake_is_refused(headers: str) -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(f"GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
        status, _, _ = await client.answer()
        assert 400 <= status < 500
        assert await client.is_closed()


async def test_an_upgrade_may_follow_other_requests_in_the_same_read() -> None:
    async with serving(METHODS) as on:
        stream = await trio.open_tcp_stream("127.0.0.1", on.port)
        async with stream:
            client = Socket(stream, on.port)
            client.protocol.send_request(client.protocol.connect())
            upgrade = b"".join(client.protocol.data_to_send())
            await stream.send_all(request(call("echo", ["before"])) + upgrade)
            data = b""
            while b"101 Switching" not in data:
                data += await stream.receive_some(4096)
            first, _, rest = data.partition(b'"result":["before"]}')
            assert first.startswith(b"HTTP/1.1 200")
            client.protocol.receive_data(rest)
            client.protocol.events_received()
            assert (await client.call("echo", ["after"]))["result"] == ["after"]


async def test_who_answers_pings_stays_and_who_does_not_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_module, "PING_S", 0.05)
    monkeypatch.setattr(websocket_module, "SILENCE_S_MAX", 0.2)
    async with serving(METHODS) as on, socket(on), socket(on) as alive:
        begun = trio.current_time()
        while on.connections == 2:
            with trio.move_on_after(0.1):
                await alive.read()
            assert trio.current_time() - begun < 10
        assert (await alive.call("echo", [1]))["result"] == [1]


async def test_a_slow_reader_is_dropped_while_others_get_everything() -> None:
    methods = Methods()
    pieces, text = 400, b'"' + b"x" * 30_000 + b'"'
    async with serving(methods.named()) as on, socket(on) as slow, socket(on) as quick:
        await slow.call("listen")
        await quick.call("listen")
        got = 0

        async def follow() -> None:
            nonlocal got
            while got < pieces:
                assert len(await quick.message()) == 30_000
                got += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for n in range(pieces):
                for client in methods.clients:
                    assert client.notify is not None
                    client.notify(text)
                while got < n - 8:
                    await trio.sleep(0)
        assert on.dropped == 1
        while on.connections == 2:
            await trio.sleep(0.01)
        assert (await quick.call("echo", [1]))["result"] == [1]


async def test_a_reader_that_was_only_late_is_told_why_it_was_dropped() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, socket(on) as slow:
        await slow.call("listen")
        notify = methods.clients[0].notify
        assert notify is not None
        for _ in range(UNREAD_BYTES_MAX // 30_000 + 2):
            notify(b'"' + b"x" * 30_000 + b'"')
        assert on.dropped == 1
        assert await slow.close_code() == 1013


async def test_a_thousand_idle_connections_cost_less_than_60_kb_each() -> None:
    """Both ends are in this process; `rialto bench rpc` measures the server's alone."""
    methods = Methods()
    count = 1000
    async with serving(methods.named()) as on, trio.open_nursery() as nursery:
        async with socket(on) as first:
            await first.call("echo")
        gc.collect()
        before = resident_bytes()
        streams = []
        for _ in range(count):
            stream = await trio.open_tcp_stream("127.0.0.1", on.port)
            await stream.send_all(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert b"101" in await stream.receive_some(4096)
            streams.append(stream)
        each = (resident_bytes() - before) / count
        assert on.connections == count
        async with socket(on) as another:
            assert (await another.call("echo", [1]))["result"] == [1]
        for stream in streams:
            await trio.aclose_forcefully(stream)
        assert each < 60_000, each
        nursery.cancel_scope.cancel()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


async def test_stopping_says_goodbye_and_answers_what_is_pending() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, socket(on) as client, http(on) as idle:
        async with http(on) as waiting:
            await idle.call(call("echo"))
            await waiting.post(call("later"))
            while not methods.kept:
                await trio.sleep(0)
            begun = trio.current_time()
            on.stop()
            assert await client.close_code() == 1001
            assert await idle.is_closed()
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", on.port)
            methods.kept[0].finish(lambda: "late")
            assert b"late" in (await waiting.answer())[2]
            await client.stream.aclose()
            await idle.stream.aclose()
            await waiting.stream.aclose()
        with trio.fail_after(10):
            await on.ended.wait()
        assert trio.current_time() - begun < 2


async def test_stopping_ends_in_time_whatever_clients_do() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, socket(on) as deaf, http(on) as waiting:
        await deaf.call("echo")
        await waiting.post(call("later"))
        begun = trio.current_time()
        on.stop()
        with trio.fail_after(10):
            await on.ended.wait()
        assert trio.current_time() - begun < server_module.GRACE_S + 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", paths[0], "-keyout", paths[1]]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return paths


async def test_tls_serves_both_and_a_plain_client_is_refused(
    certificate: tuple[str, str],
) -> None:
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with serving(METHODS, tls_context(*certificate)) as on:
        stream = trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", on.port),
            trusting,
            server_hostname="127.0.0.1",
            https_compatible=True,
        )
        await stream.send_all(request(call("echo", ["secret"])))
        assert b"secret" in await stream.receive_some(65536)
        client = Socket(stream, on.port)
        await client.open()
        assert (await client.call("echo", [1]))["result"] == [1]
        async with http(on) as plain:
            await plain.send(request(call("echo")))
            with pytest.raises(EOFError):
                await plain.answer()
        assert (await client.call("echo", [2]))["result"] == [2]
        assert on.failures == 0
        await trio.aclose_forcefully(stream)
