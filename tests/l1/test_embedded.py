"""The embedded L1 behaves as an execution client does, where our code could notice a difference."""

import pytest
from l1_wallets import ETHER, FEES, Wallets, address, hexed, new_l1, secret_of, sidecar_of

from consensus.da import kzg
from consensus.da.blobs import pack
from node.exceptions import NodeError
from node.l1 import trusted_setup
from node.l1.embedded import chain as law
from node.l1.surface import L1_METHOD, L1_UNREACHABLE, L1Error
from node.l1.transactions import Call, Fees, Sidecar, sign_call

TO = address("somebody")
SIDECAR = sidecar_of(b"a payload")


def message(caught: pytest.ExceptionInfo[L1Error]) -> str:
    return caught.value.message


def number_of(l1: object, tag: str) -> int:
    return int(l1.answer("eth_getBlockByNumber", tag)["number"], 16)  # type: ignore[attr-defined]


def test_a_transfer_moves_its_value_and_pays_its_fee() -> None:
    wallets = Wallets(new_l1())
    before = wallets.balance("operator")
    receipt = wallets.do("operator", TO, value=5, data=b"")
    cost = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert int(receipt["gasUsed"], 16) == 21_000
    assert wallets.balance("operator") == before - 5 - cost
    assert wallets.balance("somebody") == 5


def test_a_blob_transaction_is_in_a_block_with_its_hashes_and_blob_gas() -> None:
    wallets = Wallets(new_l1())
    receipt = wallets.do("operator", TO, b"", sidecar=SIDECAR)
    assert (receipt["type"], int(receipt["blobGasUsed"], 16)) == ("0x3", 131_072)
    seen = wallets.l1.answer("eth_getTransactionByHash", receipt["transactionHash"])
    assert seen["blobVersionedHashes"] == [hexed(one) for one in SIDECAR.hashes]


def test_a_sidecar_of_the_wrong_fork_or_with_wrong_proofs_is_refused() -> None:
    old = sidecar_of(b"a payload", version=0)
    for version, wrong in ((1, old), (0, SIDECAR)):
        wallets = Wallets(new_l1(sidecar_version=version))
        with pytest.raises(L1Error, match="sidecar version"):
            wallets.send("operator", TO, sidecar=wrong)
        right = old if version == 0 else SIDECAR
        assert wallets.receipt(wallets.send("operator", TO, sidecar=right))
        blob = pack(b"another payload")
        lie = Sidecar(version, blob, right.commitments, right.proofs)
        with pytest.raises(L1Error, match="invalid blob sidecar"):
            wallets.send("operator", TO, sidecar=lie)


def test_safe_and_finalized_move_by_epochs_and_never_ahead_of_the_head() -> None:
    l1 = new_l1()
    assert number_of(l1, "finalized") == number_of(l1, "safe") == 0
    for expected in range(1, 14):
        l1.chain.mine()
        epoch = expected // 4
        assert number_of(l1, "latest") == expected
        assert number_of(l1, "safe") == 4 * max(0, epoch - 1)
        assert number_of(l1, "finalized") == 4 * max(0, epoch - 2)
    l1.chain.finalize()
    assert number_of(l1, "finalized") >= 13


@pytest.mark.parametrize("depth", range(1, 8))
def test_a_reorganisation_drops_receipts_and_logs_and_gives_the_nonce_back(depth: int) -> None:
    wallets = Wallets(new_l1())
    l1 = wallets.l1
    l1.chain.mine()
    before = l1.answer("eth_getBlockByNumber", "latest")["hash"]
    sent = wallets.send("operator", TO, value=7)
    l1.chain.mine(depth - 1)
    l1.chain.reorganise(depth, keep_dropped=False)
    assert wallets.receipt(sent) is None
    assert l1.answer("eth_getTransactionByHash", sent) is None
    assert (wallets.nonce("operator"), wallets.balance("somebody")) == (0, 0)
    assert l1.answer("eth_getBlockByNumber", "0x1")["hash"] == before
    assert number_of(l1, "latest") == 2 + depth


def test_dropped_transactions_come_back_or_are_replaced_by_others() -> None:
    wallets = Wallets(new_l1())
    l1 = wallets.l1
    sent = wallets.send("operator", TO, value=7)
    l1.chain.reorganise(1)
    assert wallets.receipt(sent) is None
    l1.chain.mine()
    assert wallets.receipt(sent) is not None
    other = sign_call(secret_of("operator"), 1337, 0, Call(TO, value=9), FEES)
    decoder = l1.chain.chain.get_vm(l1.chain.head).get_transaction_builder()
    l1.chain.reorganise(2, [[decoder.decode(other.raw)]])
    assert wallets.receipt(hexed(other.hash)) is not None
    l1.chain.mine()
    assert wallets.receipt(sent) is None
    assert wallets.balance("somebody") == 9


def test_nothing_below_the_finalized_block_can_be_reorganised() -> None:
    l1 = new_l1()
    l1.chain.mine(13)
    assert number_of(l1, "finalized") == 4
    with pytest.raises(NodeError) as caught:
        l1.chain.reorganise(10)
    assert caught.value.number == law.REORGANISATION
    l1.chain.reorganise(9)
    assert number_of(l1, "latest") == 14


def test_a_chain_replays_in_a_second_instance_block_for_block() -> None:
    wallets = Wallets(new_l1())
    wallets.send("operator", TO, value=1)
    wallets.send("operator", TO, sidecar=SIDECAR)
    twin = new_l1()
    for number in range(1, number_of(wallets.l1, "latest") + 1):
        twin.chain.chain.import_block(wallets.l1.chain.block_at(number))
    assert twin.chain.head.hash == wallets.l1.chain.head.hash


def test_a_replacement_must_raise_every_fee_by_the_client_s_percentage() -> None:
    wallets = Wallets(new_l1(automine=False))
    wallets.send("operator", TO)
    low = Fees(FEES.tip, FEES.max_fee * 2)
    with pytest.raises(L1Error, match="underpriced"):
        wallets.send("operator", TO, fees=low, nonce=0)
    wallets.send("operator", TO, fees=Fees(FEES.tip * 11 // 10, FEES.max_fee * 11 // 10), nonce=0)
    with pytest.raises(L1Error, match="do not replace"):
        wallets.send("operator", TO, sidecar=SIDECAR, nonce=0)
    wallets.send("operator", TO, sidecar=SIDECAR, nonce=1)
    tenth_more = Fees(FEES.tip * 2, FEES.max_fee * 2, FEES.max_blob_fee * 11 // 10)
    with pytest.raises(L1Error, match="underpriced"):
        wallets.send("operator", TO, sidecar=SIDECAR, fees=tenth_more, nonce=1)
    double = Fees(FEES.tip * 2, FEES.max_fee * 2, FEES.max_blob_fee * 2)
    wallets.send("operator", TO, sidecar=SIDECAR, fees=double, nonce=1)
    wallets.l1.chain.mine()
    assert wallets.nonce("operator") == 2


def test_a_fee_spike_keeps_a_transaction_waiting_until_it_pays() -> None:
    wallets = Wallets(new_l1(automine=False))
    wallets.l1.chain.tip_floor = FEES.tip + 1
    sent = wallets.send("operator", TO)
    wallets.l1.chain.mine(3)
    assert wallets.receipt(sent) is None
    bumped = wallets.send("operator", TO, fees=Fees(2 * FEES.tip, 2 * FEES.max_fee), nonce=0)
    wallets.l1.chain.blob_fee_floor = FEES.max_blob_fee + 1
    blob = wallets.send("operator", TO, sidecar=SIDECAR, fees=Fees(2 * FEES.tip, 10**11, 10**11))
    wallets.l1.chain.mine()
    assert wallets.receipt(bumped) is not None
    assert wallets.receipt(blob) is None
    assert int(wallets.l1.answer("eth_blobBaseFee"), 16) == FEES.max_blob_fee + 1


def test_requests_that_no_client_must_answer_and_malformed_ones_are_refused() -> None:
    wallets = Wallets(new_l1())
    l1 = wallets.l1
    with pytest.raises(NodeError) as caught:
        l1.answer("evm_mine")
    assert caught.value.number == L1_METHOD
    for method, params in (
        ("eth_getBalance", ["12"]),
        ("eth_getBalance", []),
        ("eth_call", [{"to": "12"}]),
        ("eth_getBlockByNumber", ["newest"]),
        ("eth_sendRawTransaction", ["0x03"]),
        ("eth_sendRawTransaction", ["0x" + "ff" * 40]),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32}]),
    ):
        with pytest.raises(L1Error):
            l1.answer(method, *params)
    with pytest.raises(L1Error, match="nonce too low"):
        wallets.send("operator", TO)
        wallets.send("operator", TO, nonce=0, value=1)
    l1.is_down = True
    with pytest.raises(NodeError) as caught:
        l1.answer("eth_blockNumber")
    assert caught.value.number == L1_UNREACHABLE


def test_the_precompile_opens_a_blob_and_refuses_a_wrong_value() -> None:
    wallets = Wallets(new_l1())
    proof, y = kzg.open_blob(SIDECAR.blobs[0], 12345, trusted_setup.load())
    z = (12345).to_bytes(32, "big")

    def ask(value: int) -> bytes:
        opened = SIDECAR.hashes[0] + z + value.to_bytes(32, "big")
        return wallets.call((10).to_bytes(20, "big"), opened + SIDECAR.commitments[0] + proof)

    assert len(ask(y)) == 64
    with pytest.raises(L1Error):
        ask(y + 1)


async def test_the_surface_is_asynchronous_too() -> None:
    l1 = new_l1()
    assert await l1.request("eth_chainId") == hex(1337)
    assert int(await l1.request("eth_gasPrice"), 16) > 0
    history = await l1.request("eth_feeHistory", "0x4", "latest", [50])
    assert len(history["baseFeePerGas"]) == len(history["gasUsedRatio"]) + 1
    assert int(await l1.request("eth_getBalance", hexed(address("operator"))), 16) > ETHER
