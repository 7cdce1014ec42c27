"""Files on disk and in buckets: written whole, checked when read, one writer at a time."""
