"""A database of an earlier schema becomes one of this.

What lives here: the way from each earlier schema. What must never live here: a step that cannot be
taken twice: after a crash it begins anew, because the identity changes last.

Schema 1 had an entry for each command in the index of commands, written behind the blocks, and the
height up to which it was written. The index is made anew from the blocks.
"""

from typing import Final

from storage import schema
from storage.blocks import Blocks, command_entries
from storage.database import Database, after, forget

INDEXED: Final = schema.META + b"indexed"


def migrate(database: Database) -> None:
    """Bring a claimed database to this version's schema; durable on return.

    Raises `StorageDamaged` if its blocks cannot be read.
    """
    found = schema.read_identity(database)
    if found is None or found[0] == schema.SCHEMA_VERSION:
        return
    forget(database, schema.COMMAND, after(schema.COMMAND))
    blocks = Blocks(database)
    if not blocks.is_empty():
        for height in range(blocks.foundation().height + 1, blocks.head().height + 1):
            database.write(list(command_entries(blocks.block(height))), sync=False)
    database.write([(INDEXED, None), schema.identity_entry(found[1])], sync=True)
