"""A whole network on one machine: validators of their own, real sockets, real disks, one command.

What lives here, from the ground up: `processes` (start and stop), `chain` (keys and genesis),
`connection` (WebSocket to a node), `orders` (the recorded flow as signed commands), `replay` (send
it), `fills` (what came of it), `verdict` (do all nodes agree). What must never live here: anything
a node needs.
"""
