"""The protocols on streams: frames, requests, and the packed messages inside them.

What lives here: every byte that `docs/protocol/network.md` fixes. What must never live here: when
to ask whom, and what payloads mean.
"""
