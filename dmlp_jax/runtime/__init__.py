"""Handles the process: several hosts, console output, timing, the cache of compiled programs."""
