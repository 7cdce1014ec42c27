"""Computes exponential moving averages of a network over its training."""

from typing import Any, NamedTuple

import jax


class Average(NamedTuple):
    """Attributes: `params` and `batch_stats`, exponential moving averages of those of a network."""

    params: Any
    batch_stats: Any


def averaged(old: Any, new: Any, keep: jax.Array | float) -> Any:
    """Keep * old + (1 - keep) * new, leaf by leaf."""
    return jax.tree.map(lambda a, b: keep * a + (1.0 - keep) * b, old, new)
