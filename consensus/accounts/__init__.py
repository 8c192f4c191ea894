"""Balances, locks, fees, keys and positions."""
