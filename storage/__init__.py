"""Bytes at rest: what a node keeps, and how it finds it again after any crash.

What lives here: the database and files behind two protocols with two implementations each, the
schema, blocks, states, the journal, what was signed, snapshots and backups. What must never live
here: a thread, a clock, a socket or a rule of the exchange. Everything is synchronous; `node`
decides which call runs beside the event loop. On-disk formats: docs/protocol/storage.md.
"""
