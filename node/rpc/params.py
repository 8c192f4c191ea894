"""Parameters: by name as one object, or by position as a list.

What lives here: turning either into a typed value. What must never live here: a method.
"""

from typing import Final, TypeVar

import msgspec

from node.rpc.dispatch import INVALID_PARAMS, RpcError

Value = TypeVar("Value", bound=msgspec.Struct)

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


def by_name(params: msgspec.Raw, kind: type[Value]) -> Value:
    """The object in `params`, itself or as the only item of a list. Raises `RpcError` -32602."""
    data = bytes(params).strip()
    if data[:1] == b"[":
        items = _list.decode(data)
        if len(items) > 1:
            raise RpcError(INVALID_PARAMS, "give one object with named members")
        data = bytes(items[0]) if items else b""
    return msgspec.json.decode(data or b"{}", type=kind)


def by_position(params: msgspec.Raw, least: int, most: int) -> list[object]:
    """The items of a list of `least` to `most`, as plain JSON values. Raises `RpcError`."""
    data = bytes(params).strip() or b"[]"
    items = msgspec.json.decode(data)
    if not isinstance(items, list) or not least <= len(items) <= most:
        raise RpcError(INVALID_PARAMS, f"give a list of {least} to {most} items")
    return items
