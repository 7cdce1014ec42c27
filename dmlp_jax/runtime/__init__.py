"""The process around the work: hosts, console, timing, the cache of compiled programs."""
