"""The state as committed bytes: its Merkle tree, proofs against its root, and snapshots.

Nothing here knows what a word means. Records, accounts and books are laid out elsewhere; this
package sees leaves of 256 bytes.
"""
