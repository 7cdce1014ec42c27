"""Reproduces the tables and figures of the paper; see `__main__.py` for the command."""
