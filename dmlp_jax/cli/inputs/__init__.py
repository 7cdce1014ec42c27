"""Reads the input files of `dmlp-purify`: arrays, tables, clean rows, review decisions, images."""
