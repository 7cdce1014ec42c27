"""Decodes image files, checks them beforehand, and streams those that do not fit into memory."""
