"""The bridge to L1: blobs with their commitments, the settlement contract, an L1 in the process."""
