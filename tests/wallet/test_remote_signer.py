"""A validator's key in another process: what it signs, what it refuses, when it is away or slow."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import Raw

from consensus.finality import bls
from consensus.finality.promises import check_appointment
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import Subject, check_seal, check_vote
from consensus.genesis import Genesis, parse
from node.config import Address
from node.dev_chain import genesis_bytes
from node.exceptions import NodeError
from node.key_files import ValidatorFile, make_validator, new_validator
from node.machine import RealMachine
from node.remote_signer import RemoteSigner
from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher, Later, Method
from node.rpc.server import RpcServer
from node.signer import Signer, signs_with
from node.signer_service import SignerService, check_local
from node.signing_request import APPOINTMENT, SEAL, VOTE, SigningRequest, read_request
from storage.disk import SIGNED, MemoryDisk
from storage.exceptions import StorageError
from storage.last_signed import LastSigned

PROMISER = b"\x11" * 20
SUBJECT = Subject(7, 0, b"\xaa" * 32)
NOBODY = Client("test", None)


class Setting:
    """A chain of one validator, and its signer."""

    def __init__(self) -> None:
        self.validator: ValidatorFile = new_validator()
        self.genesis: Genesis = parse(genesis_bytes(1_764_000_000_000, self.validator))
        self.set = ValidatorSet(self.genesis.validators)
        self.disk = MemoryDisk()
        self.service = SignerService(self.genesis, self.validator, self.disk.files(SIGNED))

    def request(self, kind: str, subject: Subject | None = None) -> SigningRequest:
        promiser = PROMISER if subject is None else b""
        return SigningRequest(kind, self.genesis.hash, self.set.hash, subject, promiser)

    def sign(self, request: SigningRequest, **changed: object) -> bytes:
        value = request.as_json() | changed
        answer: Any = self.service.sign(Raw(json.dumps(value).encode()), NOBODY)
        return bytes.fromhex(answer["signature"][2:])


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_it_signs_what_a_node_with_the_secret_would_sign(setting: Setting) -> None:
    secret = setting.validator.secret
    assert secret is not None
    for request in (
        setting.request(SEAL, SUBJECT),
        setting.request(VOTE, SUBJECT),
        setting.request(APPOINTMENT),
    ):
        assert read_request(request.as_json()) == request
        assert setting.sign(request) == bls.sign(secret, request.text)


@pytest.mark.parametrize("kind", [SEAL, VOTE])
@pytest.mark.parametrize("round_", [0, 1])
def test_a_second_block_at_a_height_is_refused_in_any_round(
    setting: Setting, kind: str, round_: int
) -> None:
    first = setting.sign(setting.request(kind, SUBJECT))
    with pytest.raises(NodeError) as refused:
        setting.sign(setting.request(kind, Subject(7, round_, b"\xbb" * 32)))
    assert refused.value.number == 7886
    assert setting.sign(setting.request(kind, SUBJECT)) == first
    with pytest.raises(StorageError) as lower:
        setting.sign(setting.request(kind, Subject(6, 0, b"\xaa" * 32)))
    assert lower.value.number == 7551


def test_what_it_signed_is_known_after_a_power_cut(setting: Setting) -> None:
    setting.sign(setting.request(SEAL, SUBJECT))
    setting.sign(setting.request(APPOINTMENT))
    setting.disk.crash()
    setting.service = SignerService(
        setting.genesis, setting.validator, setting.disk.files(SIGNED)
    )
    with pytest.raises(NodeError) as refused:
        setting.sign(setting.request(SEAL, Subject(7, 0, b"\xbb" * 32)))
    assert refused.value.number == 7886
    hashes = setting.genesis.hash, setting.set.hash
    with pytest.raises(NodeError) as refused:
        setting.sign(SigningRequest(APPOINTMENT, *hashes, promiser=b"\x22" * 20))
    assert refused.value.number == 7887


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({"genesis_hash": "0x" + "00" * 32}, 7884),  # the text is another one's
        ({"text": "0x" + "00" * 32}, 7884),
        ({"height": 8}, 7884),
        ({"height": -1}, 7884),
        ({"height": "7"}, 7884),
        ({"height": True}, 7884),
        ({"kind": "transaction"}, 7884),
        ({"hash": "0x00"}, 7884),
        ({"extra": 1}, 7884),
    ],
)
def test_a_request_that_is_not_what_it_says_is_refused(
    setting: Setting, changed: dict[str, object], number: int
) -> None:
    with pytest.raises(NodeError) as refused:
        setting.sign(setting.request(VOTE, SUBJECT), **changed)
    assert refused.value.number == number
    setting.sign(setting.request(VOTE, SUBJECT))


def test_another_chain_gets_no_signature(setting: Setting) -> None:
    with pytest.raises(NodeError) as refused:
        setting.sign(SigningRequest(VOTE, b"\x01" * 32, setting.set.hash, SUBJECT))
    assert refused.value.number == 7885


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "example.org", "::"])
def test_it_listens_where_nobody_else_can_ask(host: str) -> None:
    with pytest.raises(NodeError) as refused:
        check_local(Address(host, 9545))
    assert refused.value.number == 7888


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_is_local(host: str) -> None:
    check_local(Address(host, 9545))


# -- a node's end ---------------------------------------------------------------------------------


async def serve(nursery: trio.Nursery, methods: dict[str, Method], port: int = 0) -> RpcServer:
    server = RpcServer(Address("127.0.0.1", port), Dispatcher(methods), {})
    await nursery.start(server.run)
    return server


async def test_a_node_seals_votes_and_appoints_through_it(setting: Setting) -> None:
    machine, genesis = RealMachine(), setting.genesis
    async with trio.open_nursery() as nursery:
        server = await serve(nursery, setting.service.methods())
        remote = RemoteSigner(f"http://127.0.0.1:{server.port}", setting.validator.key, machine)
        last = LastSigned(MemoryDisk().files(SIGNED), genesis.hash)
        signer = Signer(
            genesis.hash, setting.set, setting.validator.key, remote.sign, last, machine
        )
        check_appointment(genesis.hash, setting.set, await signer.appoint(PROMISER))
        seal = await signer.seal(SUBJECT)
        check_seal(genesis.hash, setting.set, 0, SUBJECT, seal)
        check_vote(genesis.hash, setting.set, await signer.vote(SUBJECT))
        with pytest.raises(NodeError) as refused:
            await remote.sign(setting.request(SEAL, Subject(7, 0, b"\xbb" * 32)))
        assert refused.value.number == 7881
        assert "E7886" in str(refused.value)
        nursery.cancel_scope.cancel()


async def test_a_signer_that_is_away_ends_the_node_by_number_after_its_patience(
    setting: Setting, autojump_clock: object
) -> None:
    remote = RemoteSigner("http://127.0.0.1:1", setting.validator.key, RealMachine())
    began = trio.current_time()
    with pytest.raises(NodeError) as away:
        await remote.sign(setting.request(VOTE, SUBJECT))
    assert away.value.number == 7880
    assert 60 <= trio.current_time() - began < 90


async def test_a_signer_that_is_slow_is_asked_again_and_then_believed(setting: Setting) -> None:
    asked = 0

    def slow(params: Raw, client: Client) -> object:
        nonlocal asked
        asked += 1
        return Later() if asked == 1 else setting.service.sign(params, client)

    async with trio.open_nursery() as nursery:
        server = await serve(nursery, {"validator_sign": slow})
        remote = RemoteSigner(
            f"http://127.0.0.1:{server.port}",
            setting.validator.key,
            RealMachine(),
            answer_s=0.2,
        )
        request = setting.request(VOTE, SUBJECT)
        assert await remote.sign(request) == setting.sign(request)
        assert asked == 2
        nursery.cancel_scope.cancel()


async def test_the_signature_of_another_key_is_found_out(setting: Setting) -> None:
    stranger = signs_with(b"\x01" * 32, RealMachine())
    wrong = "0x" + (await stranger(setting.request(VOTE, SUBJECT))).hex()
    lies: list[object] = [{"signature": wrong}, {"signature": "0x00"}, {"signature": "zz"}, {}, []]
    for answer in lies:

        def lie(params: Raw, client: Client, answer: object = answer) -> object:
            return answer

        async with trio.open_nursery() as nursery:
            server = await serve(nursery, {"validator_sign": lie})
            remote = RemoteSigner(
                f"http://127.0.0.1:{server.port}", setting.validator.key, RealMachine()
            )
            with pytest.raises(NodeError) as found:
                await remote.sign(setting.request(VOTE, SUBJECT))
            assert found.value.number == 7882
            nursery.cancel_scope.cancel()


# -- processes ------------------------------------------------------------------------------------


class Processes:
    """Started by `rialto` command lines, stopped at the end."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: object) -> tuple[dict[str, Any], subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "node.cli", *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        return (json.loads(line) if line else {}), process

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def processes() -> Iterator[Processes]:
    found = Processes()
    yield found
    found.end()


@pytest.mark.slow
@pytest.mark.usefixtures("validators_core")
def test_a_leader_without_its_secret_certifies_blocks(
    tmp_path: Path, processes: Processes
) -> None:
    """A signer, a leader, the leader's end when the signer has signed something else."""
    whole = tmp_path / "whole.json"
    validator = make_validator(whole)
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(genesis_bytes(1_764_000_000_000, validator))
    processes.start("validator", "public", whole, tmp_path / "public.json", "--json")
    assert "secret" not in json.loads((tmp_path / "public.json").read_text())
    serving = ("validator", "serve", whole, "--genesis", genesis)
    at = ("--data-dir", tmp_path / "signer", "--listen", "127.0.0.1:0")
    signer, _ = processes.start(*serving, *at)
    leading = ("node", "--role", "leader", "--genesis", genesis, "--rpc", "127.0.0.1:0")
    keys = ("--validator-key", tmp_path / "public.json", "--listen", "/ip4/127.0.0.1/tcp/0")
    remote = ("--remote-signer", f"http://127.0.0.1:{signer['signer']}")
    node, leader = processes.start(*leading, *keys, *remote, "--data-dir", tmp_path / "one")
    trio.run(_wait_certified, node["rpc"])
    leader.send_signal(signal.SIGTERM)
    assert leader.wait(30) == 0
    again, forked = processes.start(*leading, *keys, *remote, "--data-dir", tmp_path / "two")
    said = forked.communicate(timeout=60)[1]
    assert b"error E7881" in said, said
    assert (forked.returncode, again) == (2, {})


async def _wait_certified(port: int) -> None:
    from node.client.client import open_client

    async with open_client(f"http://127.0.0.1:{port}") as client:
        with trio.fail_after(30):
            while (await client.status()).certified < 1:
                await trio.sleep(0.1)
