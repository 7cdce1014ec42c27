"""Loads data sets, adds label noise, splits off the clean set and augments images."""
