"""Random views of images inside jit: the policies by name, and the colour and geometry they are made of."""

from dmlp_jax.data.augment.policies import NAMES, Policy, centre, make, to_float

__all__ = ["NAMES", "Policy", "centre", "make", "to_float"]
