"""Reads and writes files on disk and in buckets: atomic writes, checks on reading, one writer at a time."""
