"""Whole chains in one process and in simulated time: nodes, wallets, faults, and what must hold."""
