"""Mutation runs: change the rules in one place and see whether a test notices."""
