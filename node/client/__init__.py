"""A client of a node, on trio: calls, feeds that resume, a local book, commands, proofs.

    async with open_client("ws://127.0.0.1:8545") as client:
        async with client.follow_book(0) as book:
            async for _ in book.changes():
                print(book.book(1))
"""
