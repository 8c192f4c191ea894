"""An execution client over HTTP: JSON-RPC.

What lives here: the request and the answer. What must never live here: the connection
(`http_connection.py`), retries of what may have happened, or what methods mean.
"""

from itertools import count
from typing import Any, Final

import msgspec

from node.exceptions import NodeError
from node.l1.http_connection import HttpConnection
from node.l1.surface import L1_UNREACHABLE, L1Error, check_method


class HttpL1:
    """`request` over HTTP or HTTPS. One request at a time; others wait their turn."""

    def __init__(self, url: str) -> None:
        """Raises `NodeError` 7723; connects with the first request."""
        self._connection: Final = HttpConnection(url)
        self._ids: Final = count(1)

    async def request(self, method: str, *params: Any) -> Any:
        """As `surface.L1.request`. A broken connection raises 7721; it is not known then whether
        the request was carried out."""
        check_method(method)
        number = next(self._ids)
        body = msgspec.json.encode(
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        )
        answer = await self._connection.post(body, method)
        try:
            return _result(msgspec.json.decode(answer))
        except msgspec.DecodeError as error:
            text = f"{self._connection.where} does not speak JSON-RPC ({error}); is the URL right?"
            raise NodeError(L1_UNREACHABLE, text) from error

    async def close(self) -> None:
        """Close the connection; a later request opens another."""
        await self._connection.close()


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise NodeError(L1_UNREACHABLE, "the server does not speak JSON-RPC; is the URL right?")
    error = answer.get("error")
    if error is None:
        return answer["result"]
    data = error.get("data")
    is_hex = isinstance(data, str) and data.startswith("0x") and len(data) % 2 == 0
    raise L1Error(
        int(error.get("code", 0)),
        str(error.get("message", "")),
        bytes.fromhex(data[2:]) if is_hex else b"",
    )
