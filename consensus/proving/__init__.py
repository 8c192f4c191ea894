"""What a proof runs: the compiled core as freestanding C, made from the source the node runs."""
