"""The command `dmlp-purify`: its arguments, what it reads and what it writes."""
