"""The error for an argument that `purify` cannot work with."""


class InputError(ValueError):
    """An argument of `purify` that it cannot work with."""
