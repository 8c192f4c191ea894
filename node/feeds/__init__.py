"""Market data: what the tape says, as books, trades, orders and blocks that clients can follow."""
