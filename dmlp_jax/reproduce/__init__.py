"""The paper's tables, a command each; see `__main__.py`."""
