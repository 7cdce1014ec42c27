"""Decodes image files, checks that they can be decoded, and streams data sets larger than memory."""
