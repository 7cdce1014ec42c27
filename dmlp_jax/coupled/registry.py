"""Registers the coupled methods when it is imported."""

from dmlp_jax.coupled import l2r, meta_weight_net, mlc, mslc, mslg

__all__ = ["l2r", "meta_weight_net", "mlc", "mslc", "mslg"]
