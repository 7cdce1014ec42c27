"""Keeps LAPACK to one thread while a program runs on a CPU.

JAX calls SciPy's LAPACK, mostly OpenBLAS, from its own threads. OpenBLAS starts threads too, and these wait
for each other without sleeping. Where fewer cores are free than they expect, nearly all time is waiting: 570
rows of 512 features took 0.5 s with one thread and up to 23 s with two, on two cores without other work. One
thread also makes results independent of the number of cores.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import jax

# A user who set one of these has decided.
VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block, LAPACK takes one thread; then what it took before.

    Nothing happens where programs do not run on a CPU, or where the user set the number of threads.
    """
    if jax.default_backend() != "cpu" or any(map(os.environ.get, VARIABLES)):
        yield
        return
    # Late, since both take a while to load. Limits hold for libraries that are loaded already.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def with_one_thread(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator for functions that return arrays: on a CPU they run with `one_thread` until these are ready.

    Elsewhere they return as JAX does, before the arrays are computed.
    """

    @functools.wraps(function)
    def limited(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if jax.default_backend() != "cpu":
            return function(*args, **kwargs)
        with one_thread():
            return jax.block_until_ready(function(*args, **kwargs))

    return limited
