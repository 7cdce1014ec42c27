"""Importing this registers every method of the package."""

from dmlp_jax.retrain.methods import (
    cdr,
    co_teaching,
    dividemix,
    elr,
    elr_plus,
    fixmatch,
    mean_teacher,
    mixmatch,
    plain,
)

__all__ = [
    "cdr",
    "co_teaching",
    "dividemix",
    "elr",
    "elr_plus",
    "fixmatch",
    "mean_teacher",
    "mixmatch",
    "plain",
]
