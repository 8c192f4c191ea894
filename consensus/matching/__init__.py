"""The book and the matcher."""
