"""Counts the floating-point operations of a traced function, and gives the peak rate of devices."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

# Dense bfloat16 operations per second by the beginning of `device_kind`.
PEAKS = {
    # NVIDIA's data sheets of H100 and H200 (SXM; the printed 1,979 counts 2:4 sparsity) and of A100.
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100": 312e12,
    # cloud.google.com/tpu/docs, one page for each version. JAX calls v5e 'TPU v5 lite', v6e 'TPU v6 lite'.
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
}


def peak(device_kind: str) -> float | None:
    """Dense bfloat16 operations per second of a device, None where the table does not know it."""
    return next((value for name, value in PEAKS.items() if device_kind.startswith(name)), None)


def count(function: Callable[..., Any], *arguments: Any) -> int:
    """Operations of the convolutions and matrix products in `function(*arguments)`; nothing is computed.

    A multiplication and an addition are two operations. Padding counts as pixels do, as in published
    figures of networks; XLA's own count leaves it out. Only the dearest branch of a `cond` counts.

    Args:
        function: traceable.
        *arguments: arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: such an operation stands inside a `while`, whose length is not known.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += 2 * out.size * math.prod(kernel) // kernel[features]
        elif name in ("conv", "conv_inputs", "conv_kernel"):
            # Of dmlp_jax.models.cpu_convolution: outputs times window times input channels, however computed.
            first, second = (variable.aval for variable in equation.invars)
            y, kernel = {"conv": (out, second), "conv_inputs": (first, second), "conv_kernel": (second, out)}[
                name
            ]
            total += 2 * y.size * math.prod(kernel.shape[:3])
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * out.size * math.prod(shape[axis] for axis in contracted)
        else:
            inside = [_count(part) for part in _inner(equation.params)]
            if name == "while" and any(inside):
                raise ValueError("a matrix product inside a while loop cannot be counted")
            times = equation.params["length"] if name == "scan" else 1
            total += times * (max(inside) if name == "cond" else sum(inside))
    return total


def _inner(params: dict[str, Any]) -> list[core.Jaxpr]:
    """The programs inside an equation: of jit, scan, cond, custom derivatives, remat."""
    leaves = [leaf for value in params.values() for leaf in (value if isinstance(value, tuple) else (value,))]
    closed = [leaf.jaxpr if isinstance(leaf, core.ClosedJaxpr) else leaf for leaf in leaves]
    return [leaf for leaf in closed if isinstance(leaf, core.Jaxpr)]


def seconds(function: Callable[[], Any], repeats: int, calls: int = 1) -> float:
    """Median seconds of a call, after one that compiles.

    Args:
        function: without arguments; what it returns is waited for.
        repeats: measurements that the median is of.
        calls: in each of them, waited for once: their launches overlap with the work, as in training.
    """
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        results = [function() for _ in range(calls)]
        jax.block_until_ready(results[-1])
        times.append((time.perf_counter() - start) / calls)
    return float(np.median(times))


def processor_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Least processor time of a call, all threads: other programs lengthen it less than the clock's time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(function())
        times.append(time.process_time() - start)
    return min(times)


def bare_product(dtype: str, size: int, device: jax.Device) -> float:
    """Operations per second of a product of two matrices [size, size] of random numbers."""
    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.device_put(jax.random.normal(key, (size, size), dtype), device) for key in keys)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / seconds(lambda: product(left, right), repeats=5, calls=4)
