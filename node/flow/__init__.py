"""Recorded order flows of real venues, as instructions that the core can be driven with."""
