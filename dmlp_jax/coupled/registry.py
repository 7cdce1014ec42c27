"""Registers the coupled methods when it is imported."""

from dmlp_jax.coupled import famus, ieg, l2r, meta_weight_net, mlc, mlnt, mslc, mslg

__all__ = ["famus", "ieg", "l2r", "meta_weight_net", "mlc", "mlnt", "mslc", "mslg"]
