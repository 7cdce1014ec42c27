"""Registers every retraining method of this package when it is imported."""

from dmlp_jax.retrain.methods import (
    cdr,
    co_teaching,
    dividemix,
    elr,
    elr_plus,
    fixmatch,
    incv,
    joint_optim,
    mean_teacher,
    mixmatch,
    pencil,
    plain,
    promix,
    ssr,
)

__all__ = [
    "cdr",
    "co_teaching",
    "dividemix",
    "elr",
    "elr_plus",
    "fixmatch",
    "incv",
    "joint_optim",
    "mean_teacher",
    "mixmatch",
    "pencil",
    "plain",
    "promix",
    "ssr",
]
