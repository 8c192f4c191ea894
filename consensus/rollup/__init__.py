"""What is said to L1: batches of blocks and the public values of their proofs.

Bytes only; who posts them, when and at what price is the node's business.
"""
