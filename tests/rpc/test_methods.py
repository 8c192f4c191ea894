"""Every method against a live node: what it answers, and that what it answers can be checked."""

from pathlib import Path
from typing import Any

import pytest
import trio
from eth_account import Account
from eth_account.messages import encode_typed_data
from fleet import Wallet
from live import Live, Refused, in_words, live, packed, result_of
from sockets import call, http

from consensus import commands, layout, receipts
from consensus.block import block_hash, decode_header
from consensus.finality import promises
from consensus.finality.votes import check_certificate, decode_certificate
from consensus.state import statements
from consensus.state.book import Book, Level, checksum
from node.roles.sequencer import BAD_SIGNATURE
from node.rpc.methods import chain as chain_methods
from node.rpc.methods import clob_commands, clob_subscriptions, directory, eth, net
from node.rpc.methods.clob_subscriptions import SUBSCRIPTIONS_MAX


def raw(text: str) -> bytes:
    assert text[:2] == "0x"
    return bytes.fromhex(text[2:])


async def refusal(on: Live, method: str, params: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await on.call(method, params)
    return caught.value


async def test_an_order_by_words_fills_and_everything_tells_the_same(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        seller, buyer = Wallet(0), Wallet(1)
        rested = await on.submit(seller.order(on.node.chain.state, layout.SELL, 120, 10))
        assert rested["events"][0]["event"] == "rested"
        handle = rested["events"][0]["handle"]
        command = in_words(
            buyer.order(on.node.chain.state, layout.BUY, 120, 4),
            {"op": "place", "market": "BTC-USD", "side": "buy", "client": 1, "price": 120,
             "lots": "4"},
        )  # fmt: skip
        filled = await on.call("clob_submit", command)
        assert [one["event"] for one in filled["events"]] == ["trade", "taken"]
        trade = filled["events"][0]
        assert (trade["maker_handle"], trade["price"], trade["lots"]) == (handle, 120, 4)

        order = await on.call("clob_order", {"market": 0, "handle": handle})
        assert (order["left"], order["filled"], order["side"]) == (6, 4, "sell")
        owner = "0x" + seller.owner.hex()
        by_client = await on.call("clob_order", {"account": owner, "client": 1})
        assert by_client == order
        assert await on.call("clob_openOrders", {"account": owner}) == [order]
        assert (
            await on.call("clob_openOrders", {"account": buyer.account(on.node.chain.state)}) == []
        )
        book = await on.call("clob_book", {"market": "BTC-USD"})
        assert (book["bids"], book["asks"], book["last"]) == ([], [[120, 6, 1]], 120)
        assert book["checksum"] == checksum(Book((), (Level(120, 6, 1),)))
        trades = await on.call("clob_trades", {"market": 0})
        assert [(one["price"], one["lots"]) for one in trades] == [(120, 4)]
        for wallet in (seller, buyer):
            account = wallet.account(on.node.chain.state)
            fills = await on.call("clob_fills", {"account": account})
            assert fills[0]["event"] == "trade"
            position = (await on.call("clob_account", {"account": account}))["positions"][0]
            assert position["net"] == ("-4" if wallet is seller else "4")


async def test_promises_receipts_headers_and_certificates_verify(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        answer = await on.submit(Wallet(0).order(on.node.chain.state, layout.BUY, 90))
        status = await on.call("chain_status")
        appointment = promises.decode_appointment(raw(status["appointment"]))
        validators = on.node.chain.validators
        promises.check_appointment(on.genesis.hash, validators, appointment)
        promise = promises.decode_promise(raw(answer["promise"]))
        record = promises.verify(promise, on.genesis.hash, appointment.promiser)
        assert (record.height, record.sequence) == (answer["height"], answer["sequence"])
        assert "0x" + record.command.hex() == answer["command"]

        await on.sealed()
        receipt = await on.call("chain_getReceipt", {"sequence": answer["sequence"]})
        again = {"account": Wallet(0).account(on.node.chain.state), "nonce": "1"}
        assert await on.call("chain_getReceipt", again) == receipt
        header_json = await on.call("chain_getHeader", {"height": answer["height"]})
        header = decode_header(raw(header_json["header"]))
        assert "0x" + block_hash(header).hex() == header_json["hash"] == receipt["hash"]
        found = receipts.decode_receipt(raw(receipt["receipt"]))
        shown = receipts.verify(found, block_hash(header))
        assert len(shown) == 64 * len(receipt["events"])
        assert receipt["events"] == answer["events"]
        assert await on.call("chain_getHeader", {"hash": header_json["hash"]}) == header_json
        with trio.fail_after(10):
            while header_json["certificate"] is None:
                await trio.sleep(0.05)
                header_json = await on.call("chain_getHeader", {"height": answer["height"]})
        certificate = decode_certificate(raw(header_json["certificate"]))
        check_certificate(on.genesis.hash, validators, certificate)
        assert certificate.subject.hash == block_hash(header)
        assert header_json["stage"] == "certified"


async def test_proofs_verify_under_the_root_of_a_header(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        wallet = Wallet(0)
        address = "0x" + wallet.owner.hex()
        rested = (await on.submit(wallet.order(on.node.chain.state, layout.BUY, 90, 7)))["events"][
            0
        ]
        await on.sealed()
        asked: list[tuple[dict[str, object], Any]] = [
            ({"kind": "account", "address": address},
             lambda r, p: statements.verify_account(r, p, wallet.owner)),
            ({"kind": "balance", "address": address, "asset": 0},
             lambda r, p: statements.verify_balance(r, p, wallet.owner, 0)),
            ({"kind": "order", "market": 0, "handle": rested["handle"]},
             lambda r, p: statements.verify_order(r, p, 0, int(rested["handle"]))),
            ({"kind": "client_order", "address": address, "client": 1},
             lambda r, p: statements.verify_client_order(r, p, wallet.owner, 1)),
            ({"kind": "level", "market": 0, "side": "buy", "price": 90},
             lambda r, p: statements.verify_level(r, p, 0, layout.BUY, 90)),
        ]  # fmt: skip
        for question, verify in asked:
            proven = await on.call("chain_getProof", question)
            header = await on.call("chain_getHeader", {"height": proven["height"]})
            assert header["state_root"] == proven["state_root"]
            facts = verify(raw(proven["state_root"]), raw(proven["proof"]))
            assert facts is not None
            if question["kind"] == "level":
                assert facts.visible == 7
        assert (await refusal(on, "chain_getProof", {"kind": "moon"})).code == -32602
        bad = await refusal(on, "chain_getProof", {"kind": "account", "address": "0x12"})
        assert bad.code == -32602
        assert await is_refused_while_a_block_is_open(on, asked[0][0])


async def is_refused_while_a_block_is_open(on: Live, question: dict[str, object]) -> bool:
    """On a busy machine a block may be sealed before the question is there: then again."""
    for price in range(50, 66):
        await on.submit(Wallet(1, nonce=price).order(on.node.chain.state, layout.BUY, price))
        try:
            await on.call("chain_getProof", question)
        except Refused as error:
            assert error.code == chain_methods.NOT_SEALED, error
            return True
    return False


async def test_a_wrong_signature_says_what_the_node_saw(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        right, wrong = Wallet(0), Wallet(1)
        submission = right.order(on.node.chain.state, layout.BUY, 90)
        stranger = wrong.signed(on.node.chain.state, submission.group.operations)
        command = packed(submission) | {"signature": "0x" + stranger.signature.hex()}
        error = await refusal(on, "clob_submit", command)
        assert error.code == BAD_SIGNATURE
        digest = await on.call("clob_digest", {"group": command["group"]})
        assert error.data["digest"] == digest["digest"]
        assert error.data["signer"] == "0x" + right.owner.hex()
        assert error.data["recovered"] not in ("0x" + right.owner.hex(), "0x" + wrong.owner.hex())
        accepted = await on.submit(submission)  # the nonce was not spent
        again = await refusal(on, "clob_submit", packed(submission))
        assert again.code == layout.NONCE_USED
        await on.sealed()
        with trio.fail_after(10):
            while not again.data.get("height"):
                again = await refusal(on, "clob_submit", packed(submission))
        assert (again.data["height"], again.data["sequence"]) == (
            accepted["height"],
            accepted["sequence"],
        )


BAD_COMMANDS: list[tuple[dict[str, object], int | None]] = [
    ({"signature": "0x12"}, None),
    ({"signature": "zz"}, -32602),
    ({"group": "0x00"}, None),
    ({"group": "0x" + "00" * 128}, None),
    ({"group": 5}, -32602),
    ({"nonce": "1e3", "group": ""}, -32602),
    ({"surprise": 1}, -32602),
    ({"group": "", "operations": []}, -32602),
    ({"group": "", "signer": "0x" + "11" * 20, "key": 5}, -32602),
    ({"group": "", "signer": "0x" + "11" * 20, "key": -1}, -32602),
    ({"group": "", "signer": "0x" + "11" * 20, "account": 2**63,
      "operations": [{"op": "cancel", "client": 1}]}, 7370),
    ({"group": "", "signer": "0x" + "11" * 20, "operations": []}, clob_commands.TOO_MANY),
    ({"group": "", "signer": "0x" + "11" * 20, "operations": [{"op": "dance"}]}, -32602),
    ({"group": "", "signer": "0x" + "11" * 20,
      "operations": [{"op": "cancel", "market": "MOON-USD", "handle": 1}]}, 7370),
    ({"group": "", "signer": "0x" + "11" * 20,
      "operations": [{"op": "cancel", "market": 0}]}, 7370),
    ({"group": "", "signer": "0x" + "11" * 20, "nonce": str(2**63),
      "operations": [{"op": "cancel", "client": 1}]}, None),
]  # fmt: skip


async def test_a_command_that_cannot_be_one_is_refused_by_number(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        command = packed(Wallet(0).order(on.node.chain.state, layout.BUY, 90))
        for change, code in BAD_COMMANDS:
            error = await refusal(on, "clob_submit", command | change)
            assert error.code != -32603, (change, error)
            assert code is None or error.code == code, (change, error)
        assert (await on.call("clob_submit", command))["sequence"] > 0


async def test_a_batch_of_commands_is_answered_in_its_order(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        wallet = Wallet(0)
        good = [packed(wallet.order(on.node.chain.state, layout.BUY, 80 + n)) for n in range(3)]
        batch = [good[0], good[0], good[1], good[2]]
        answers = await on.call("clob_submitBatch", {"commands": batch})
        assert answers[1]["error"]["code"] == layout.NONCE_USED
        sequences = [answers[n]["sequence"] for n in (0, 2, 3)]
        assert sequences == sorted(sequences)
        most: dict[str, object] = {"commands": [good[0]] * (clob_commands.BATCH_COMMANDS_MAX + 1)}
        none: dict[str, object] = {"commands": []}
        for params in (most, none):
            assert (await refusal(on, "clob_submitBatch", params)).code == clob_commands.TOO_MANY


async def test_the_digest_is_what_a_wallet_signs(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        submission = Wallet(0).signed(on.node.chain.state, commands.place(0, layout.BUY, 1, 90, 5))
        command = in_words(
            submission,
            {"op": "place", "market": 0, "side": "buy", "client": 1, "price": 90, "lots": 5},
        )
        found = await on.call("clob_digest", command)
        assert found["group"] == "0x" + submission.group.rows.hex()
        message = encode_typed_data(full_message=found["typed_data"])
        signed = Account.from_key(Wallet(0).owner_key).sign_message(message)
        assert "0x" + bytes(signed.message_hash).hex() == found["digest"]
        signature = "0x" + bytes(signed.signature).hex()
        answer = await on.call("clob_submit", {"group": found["group"], "signature": signature})
        assert answer["sequence"] > 0


async def test_markets_tell_their_terms(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        (market,) = await on.call("clob_markets")
        assert (market["market"], market["name"], market["status"]) == (0, "BTC-USD", "open")
        assert market["base_per_lot"] == "10"
        assert market["fees"][0] == {"taker_ppm": 500, "maker_ppm": 100}


BAD_QUESTIONS: list[tuple[str, object, int | None]] = [
    ("clob_book", {"market": 9}, -32602),
    ("clob_book", {"market": -1}, -32602),
    ("clob_book", {"market": "MOON-USD"}, -32602),
    ("clob_book", {"market": 0, "depth": 0}, -32602),
    ("clob_book", {"market": 0, "depth": 10**9}, -32602),
    ("clob_trades", {"market": 0, "depth": 0}, -32602),
    ("clob_trades", {"market": 0, "depth": -3}, -32602),
    ("clob_book", {}, -32602),
    ("clob_book", [1, 2], -32602),
    ("clob_order", {}, -32602),
    ("clob_order", {"market": 0, "handle": "x"}, -32602),
    ("clob_account", {"account": 63}, directory.UNKNOWN_ACCOUNT),
    ("clob_account", {"account": -1}, directory.UNKNOWN_ACCOUNT),
    ("clob_account", {"account": 2**60}, directory.UNKNOWN_ACCOUNT),
    ("clob_account", {"account": "0x" + "77" * 20}, directory.UNKNOWN_ACCOUNT),
    ("clob_account", {"account": "0x77"}, -32602),
    ("clob_openOrders", {"account": 63}, directory.UNKNOWN_ACCOUNT),
    ("clob_fills", {"account": 2, "limit": 0}, -32602),
    ("clob_subscribe", {"channel": "moon"}, clob_subscriptions.UNKNOWN_CHANNEL),
    ("clob_subscribe", {"channel": "book"}, -32602),
    ("clob_subscribe", {"channel": "book", "market": 7}, -32602),
    ("clob_subscribe", {"channel": "orders"}, -32602),
    ("clob_subscribe", {"channel": "orders", "account": 63}, directory.UNKNOWN_ACCOUNT),
    ("chain_getHeader", {"height": 10**15}, chain_methods.UNKNOWN_BLOCK),
    ("chain_getHeader", {"height": -1}, chain_methods.UNKNOWN_BLOCK),
    ("chain_getHeader", {"hash": "0x" + "00" * 32}, chain_methods.UNKNOWN_BLOCK),
    ("chain_getHeader", {"hash": "0x00"}, -32602),
    ("chain_getReceipt", {"sequence": 10**15}, chain_methods.UNKNOWN_COMMAND),
    ("chain_getReceipt", {"sequence": -1}, chain_methods.UNKNOWN_COMMAND),
    ("chain_getReceipt", {"account": 2, "nonce": 77}, chain_methods.UNKNOWN_COMMAND),
    ("chain_getReceipt", {}, -32602),
    ("chain_getProof", {"kind": "balance", "address": "0x" + "77" * 20, "asset": 10**18}, None),
    ("chain_getProof", {"kind": "order", "market": -1, "handle": -1}, None),
    ("chain_getProof", {"kind": "level", "market": 0, "price": -1}, None),
    ("chain_getProof", {"kind": "level", "market": 99, "price": 1}, None),
    ("eth_getBlockByNumber", ["moon"], -32602),
    ("eth_getBlockByNumber", [], -32602),
    ("eth_sendRawTransaction", ["0x00"], eth.NO_TRANSACTIONS),
    ("eth_estimateGas", [{}], eth.NO_TRANSACTIONS),
    ("web3_sha3", ["0xz"], -32602),
]


async def test_what_cannot_be_answered_is_refused_by_number(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        for method, params, code in BAD_QUESTIONS:
            error = await refusal(on, method, params)
            assert error.code != -32603, (method, params, error)
            assert code is None or error.code == code, (method, params, error)


async def test_an_order_that_is_none_is_null(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        for handle in (0, 1, -1, 2**62, str(2**62)):
            assert await on.call("clob_order", {"market": 0, "handle": handle}) is None
        assert await on.call("clob_order", {"account": 2, "client": 5}) is None


async def test_a_subscription_is_a_snapshot_then_deltas_and_can_be_resumed(
    tmp_path: Path,
) -> None:
    async with live(tmp_path) as on:
        wallet = Wallet(0)
        await on.submit(wallet.order(on.node.chain.state, layout.BUY, 90, 5))
        name = await on.call("clob_subscribe", {"channel": "book", "market": "BTC-USD"})
        first = await on.news()
        assert first["subscription"] == name
        assert first["result"]["snapshot"] is True
        assert first["result"]["bids"] == [[90, 5, 1]]
        await on.submit(wallet.order(on.node.chain.state, layout.BUY, 91, 6))
        second = (await on.news())["result"]
        assert second["previous"] == first["result"]["sequence"]
        assert second["bids"] == [[91, 6, 1]]
        assert second["checksum"] == checksum(Book((Level(91, 6, 1), Level(90, 5, 1)), ()))
        assert await on.call("clob_unsubscribe", {"subscription": name}) is True
        assert await on.call("clob_unsubscribe", {"subscription": name}) is False
        await on.submit(wallet.order(on.node.chain.state, layout.BUY, 92, 7))
        await trio.sleep(0.05)
        resume = {"channel": "book", "market": 0, "resume": str(second["sequence"])}
        await on.call("clob_subscribe", resume)
        third = (await on.news())["result"]
        assert (third["previous"], third["bids"]) == (second["sequence"], [[92, 7, 1]])


async def test_every_channel_speaks(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        seller, buyer = Wallet(0), Wallet(1)
        names: dict[str, str] = {}
        for channel in ("bbo", "trades", "orders", "blocks", "certificates"):
            params: dict[str, object] = {"channel": channel}
            if channel in ("bbo", "trades"):
                params["market"] = "BTC-USD"
            if channel == "orders":
                params["account"] = "0x" + seller.owner.hex()
            names[await on.call("clob_subscribe", params)] = channel
        await on.submit(seller.order(on.node.chain.state, layout.SELL, 120, 5))
        await on.submit(buyer.order(on.node.chain.state, layout.BUY, 120, 5))
        heard: dict[str, list[Any]] = {channel: [] for channel in names.values()}
        with trio.fail_after(20):
            while not all(heard.values()) or len(heard["orders"]) < 2:
                news = await on.news()
                heard[names[news["subscription"]]].append(news["result"])
        assert [one["event"] for one in heard["orders"]] == ["rested", "trade"]
        assert heard["trades"][0]["price"] == 120
        assert heard["bbo"][0]["snapshot"] is True
        sealed, certified = heard["blocks"][0], heard["certificates"][0]
        header = await on.call("chain_getHeader", {"height": sealed["height"]})
        assert header["hash"] == sealed["hash"]
        assert certified["height"] > 0


async def test_subscriptions_have_a_limit_and_need_a_websocket(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        one = call("clob_subscribe", {"channel": "blocks"})
        await on.socket.send("[" + ",".join([one] * (SUBSCRIPTIONS_MAX + 1)) + "]")
        answers = await on.socket.message()
        assert sum("result" in answer for answer in answers) == SUBSCRIPTIONS_MAX
        assert answers[-1]["error"]["code"] == clob_commands.TOO_MANY
        with pytest.raises(Refused) as caught:
            result_of(await on.http.call(one))
        assert caught.value.code == clob_subscriptions.NO_PUSH
        before = on.on.feeds.blocks.listeners
        assert before == SUBSCRIPTIONS_MAX
        await on.socket.stream.aclose()
        with trio.fail_after(10):
            while on.on.feeds.blocks.listeners:
                await trio.sleep(0.01)


async def test_what_wallets_ask_when_they_connect(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        assert await on.call("eth_chainId") == "0x539"
        assert await on.call("net_version") == "1337"
        assert (await on.call("web3_clientVersion")).startswith("Rialto/")
        await on.submit(Wallet(0).order(on.node.chain.state, layout.BUY, 90))
        height = await on.sealed()
        latest = await on.call("eth_getBlockByNumber", ["latest", False])
        assert int(latest["number"], 16) >= height
        assert await on.call("eth_getBlockByHash", [latest["hash"], False]) == latest
        assert await on.call("eth_getBlockByNumber", [latest["number"], False]) == latest
        assert (await on.call("eth_getBlockByNumber", ["earliest"]))["number"] == "0x0"
        assert await on.call("eth_getBlockByNumber", ["0xffffff", False]) is None
        assert await on.call("eth_getBlockByHash", ["0x00", False]) is None
        assert await on.call("eth_blockNumber") >= latest["number"]
        empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        assert await on.call("web3_sha3", ["0x"]) == empty
        assert await on.call("eth_accounts") == []
        assert await on.call("net_peers") == []


async def test_discovery_names_every_method_and_its_parameters(tmp_path: Path) -> None:
    async with live(tmp_path) as on:
        document = await on.call("rpc.discover")
        described = {one["name"]: one for one in document["methods"]}
        assert {"clob_submit", "clob_subscribe", "chain_getProof", "net_peers"} <= set(described)
        for name, one in described.items():
            if name.startswith(("clob_", "chain_", "net_peers")):
                assert one["summary"], name
        for one in described.values():
            for parameter in one["params"]:
                kind = parameter["schema"]["$ref"].rpartition("/")[2]
                assert kind in document["components"]["schemas"]


async def test_the_operators_methods_need_the_token_and_another_port(tmp_path: Path) -> None:
    async with live(tmp_path, "--admin", "127.0.0.1:0") as on:
        assert on.on.admin is not None
        assert (await refusal(on, "admin_alarms", {})).code == -32601
        token = (tmp_path / "admin.token").read_text().strip()
        assert (tmp_path / "admin.token").stat().st_mode & 0o077 == 0
        async with http(on.on.admin) as admin:
            for bad in ("", token[:-1], token + "x", "\u00fc"):
                answer = await admin.call(call("admin_alarms", {"token": bad}))
                assert answer["error"]["code"] == net.BAD_TOKEN
            right = {"token": token}
            assert result_of(await admin.call(call("admin_alarms", right))) == []
            assert result_of(await admin.call(call("admin_counters", right))) == {}
            assert result_of(await admin.call(call("admin_stop", right))) is True
        assert on.on.asked_to_end.is_set()
