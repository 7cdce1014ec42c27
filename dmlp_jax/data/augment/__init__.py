"""Augments images inside jit: named policies built from colour and geometric operations."""

from dmlp_jax.data.augment.policies import NAMES, Policy, centre, make, to_float

__all__ = ["NAMES", "Policy", "centre", "make", "to_float"]
