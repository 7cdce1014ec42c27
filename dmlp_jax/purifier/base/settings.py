"""Helps to define settings as frozen dataclasses that are pytrees: numbers are leaves, the rest is static.

A static field shapes the compiled program, so a new value compiles anew. Numbers do not, and `jax.vmap` and
`jax.jit` work over them.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from dmlp_jax.purifier.base.errors import InputError


def static(default: Any) -> Any:
    """A dataclass field that is part of the pytree's structure."""
    return dataclasses.field(default=default, metadata={"static": True})


def register(cls: type) -> None:
    """Registers a dataclass as a pytree whose leaves are the fields that are not `static`."""
    fields = dataclasses.fields(cls)
    jax.tree_util.register_dataclass(
        cls,
        data_fields=[field.name for field in fields if not field.metadata.get("static")],
        meta_fields=[field.name for field in fields if field.metadata.get("static")],
    )


def names(cls: Any) -> list[str]:
    """The names of the fields of a dataclass, in their order."""
    return [field.name for field in dataclasses.fields(cls)]


def refuse_unknown(cls: Any, given: Iterable[str], hints: Mapping[str, str]) -> None:
    """Refuses fields that the class does not have.

    Args:
        cls: the dataclass.
        given: names of fields.
        hints: by name, what to write instead.

    Raises:
        InputError: a field is unknown; the message names it and what to do.
    """
    known = names(cls)
    for name in given:
        if name not in known:
            advice = hints.get(name, f"its fields are {', '.join(known)}")
            raise InputError(f"{cls.__name__} has no field {name!r}: {advice}")


def check_whole_numbers(config: Any, least: Mapping[str, int]) -> None:
    """Refuses fields that are not whole numbers, or below their least value, which `least` has by name."""
    for name, smallest in least.items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < smallest:
            raise InputError(f"config.{name} is {value!r}; it must be a whole number, at least {smallest}")


def is_traced(value: Any) -> bool:
    """Whether a number is unknown because a jax transformation is tracing it."""
    return isinstance(value, jax.core.Tracer)


def check_positive(config: Any, *fields: str, zero: bool = False) -> None:
    """Refuses numbers that are not positive, with `zero` only negative ones; traced values go unchecked."""
    for name in fields:
        for value in jax.tree.leaves(getattr(config, name)):
            if is_traced(value):
                continue
            if not np.all(np.asarray(value) >= 0 if zero else np.asarray(value) > 0):
                wanted = "not be negative" if zero else "be positive"
                raise InputError(f"config.{name} is {value}; it must {wanted}")
