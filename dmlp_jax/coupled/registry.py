"""Importing this registers the coupled methods."""

from dmlp_jax.coupled import l2r, meta_weight_net, mlc, mslc

__all__ = ["l2r", "meta_weight_net", "mlc", "mslc"]
