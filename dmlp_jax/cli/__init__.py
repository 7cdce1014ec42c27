"""Implements the command `dmlp-purify`: its arguments, its input files and its results."""
