"""Registers every retraining method of this package when it is imported."""

from dmlp_jax.retrain.methods import (
    cdr,
    co_teaching,
    dividemix,
    elr,
    elr_plus,
    fixmatch,
    m_correction,
    mean_teacher,
    mixmatch,
    moit_plus,
    plain,
    rrl,
    sel_cl_plus,
)

__all__ = [
    "cdr",
    "co_teaching",
    "dividemix",
    "elr",
    "elr_plus",
    "fixmatch",
    "m_correction",
    "mean_teacher",
    "mixmatch",
    "moit_plus",
    "plain",
    "rrl",
    "sel_cl_plus",
]
