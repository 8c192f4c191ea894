"""The front door: JSON-RPC 2.0 over HTTP and WebSocket on one port.

What lives here, from the socket inwards: `server` (ports, TLS, limits), `http` and `websocket` (the
two protocols), `outbox` (what waits to be sent), `dispatch` (JSON-RPC), `methods` (what can be
asked). What must never live here: a rule of the exchange.
"""
