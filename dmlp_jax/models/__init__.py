"""Defines the networks, in flax.linen."""
