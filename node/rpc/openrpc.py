"""`rpc.discover`: the OpenRPC document of what this port answers, made from the methods themselves.

What lives here: names, summaries from docstrings, and JSON schemas of the parameters. What must
never live here: a description that a method does not have itself.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from node import __version__
from node.rpc.client import Client
from node.rpc.dispatch import Method
from node.rpc.methods import (
    chain,
    clob_accounts,
    clob_commands,
    clob_markets,
    clob_subscriptions,
    net,
    withdrawals,
)

OPENRPC: Final = "1.3.2"
PARAMETERS: Final[Mapping[str, type[Struct]]] = {
    "clob_submit": clob_commands.Command,
    "clob_submitBatch": clob_commands.Commands,
    "clob_digest": clob_commands.Command,
    "clob_book": clob_markets.OfMarket,
    "clob_trades": clob_markets.OfMarket,
    "clob_order": clob_accounts.OneOrder,
    "clob_openOrders": clob_accounts.OfAccount,
    "clob_fills": clob_accounts.OfAccount,
    "clob_account": clob_accounts.OfAccount,
    "clob_subscribe": clob_subscriptions.Subscribe,
    "clob_unsubscribe": clob_subscriptions.Unsubscribe,
    "chain_getHeader": chain.AtHeight,
    "chain_getBlock": chain.AtHeight,
    "chain_getReceipt": chain.AskReceipt,
    "chain_getProof": chain.AskProof,
    "chain_getWithdrawal": withdrawals.OneWithdrawal,
    "chain_getWithdrawals": withdrawals.WithdrawalsTo,
    "admin_alarms": net.WithToken,
    "admin_counters": net.WithToken,
    "admin_stop": net.WithToken,
}


def with_discovery(methods: Mapping[str, Method]) -> dict[str, Method]:
    """The methods, and `rpc.discover` that describes them."""
    document = describe(methods)

    def discover(params: Raw, client: Client) -> object:
        """This document."""
        return document

    return {**methods, "rpc.discover": discover}


def describe(methods: Mapping[str, Method]) -> dict[str, object]:
    """An OpenRPC 1.3 document."""
    kinds = [PARAMETERS[name] for name in methods if name in PARAMETERS]
    template = "#/components/schemas/{name}"
    _, components = msgspec.json.schema_components(kinds, ref_template=template)
    return {
        "openrpc": OPENRPC,
        "info": {"title": "Rialto node", "version": __version__},
        "methods": [_method(name, method) for name, method in methods.items()],
        "components": {"schemas": components},
    }


def _method(name: str, method: Method) -> dict[str, object]:
    summary = (method.__doc__ or "").partition("\n")[0]
    kind = PARAMETERS.get(name)
    params = []
    if kind is not None:
        schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
        params = [{"name": "params", "required": True, "schema": schema}]
    return {
        "name": name,
        "summary": summary,
        "paramStructure": "either",
        "params": params,
        "result": {"name": "result", "schema": True},
    }
