"""Data availability: what is posted to L1 so that anybody can replay the chain."""
