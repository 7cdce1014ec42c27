"""A convolution whose values and derivatives XLA computes quickly on a CPU too.

XLA's CPU backend takes the gradient in the kernel for a convolution with a window as large as the image,
which is three to four times as slow as the forward pass. Here it is a matrix product, or Winograd's method.
Programs for other devices are the same as with `jax.lax.conv_general_dilated`.

A convolution y = F(x, w) is linear in both arguments. So are its two adjoints, X(g, w) in the inputs and
W(x, g) in the kernel, and each adjoint of one of the three is again one of them. Each is a JAX primitive, so
that derivatives of every order, forward and reverse, are quick.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from dmlp_jax.models import winograd

NUMBERS = ("NHWC", "HWIO", "NHWC")
# With fewer channels, as in a network's first layer, XLA's own way is as quick.
FEWEST_CHANNELS = 16


class Shape(NamedTuple):
    """What the arrays do not say.

    Attributes:
        stride: along both axes.
        padding: zeros before and after, for each axis.
        side: height and width of the inputs.
        window: height and width of the kernel.
    """

    stride: int
    padding: tuple[tuple[int, int], tuple[int, int]]
    side: tuple[int, int]
    window: tuple[int, int]

    @property
    def out(self) -> tuple[int, ...]:
        """Height and width of the outputs."""
        lengths = zip(self.side, self.padding, self.window, strict=True)
        return tuple((side + sum(ends) - size) // self.stride + 1 for side, ends, size in lengths)


def convolve(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **options: Any
) -> jax.Array:
    """Takes the place of `jax.lax.conv_general_dilated` in `flax.linen.Conv`.

    Args:
        x: [n, h, w, c]; only float32 is treated specially.
        kernel: [height, width, c, d].
        strides: along both axes.
        padding: as `conv_general_dilated` takes it.
        **options: its others; dilation or groups are left to it.
    """
    dilations = [options.get(name) or (1,) for name in ("lhs_dilation", "rhs_dilation")]
    usual = all(step == 1 for dilation in dilations for step in dilation)
    usual &= options.get("feature_group_count", 1) == 1 and options.get("precision") is None
    if not usual or x.ndim != 4 or len(set(strides)) > 1 or not x.dtype == kernel.dtype == jnp.float32:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    (top, bottom), (left, right) = padding
    (_, h, w, _), (height, width, _, _) = x.shape, kernel.shape
    shape = Shape(strides[0], ((top, bottom), (left, right)), (h, w), (height, width))
    return _forward_p.bind(x, kernel, shape=shape)


def _way(shape: Shape, channels: int, width: int) -> str:
    """The quickest way on a CPU: 'winograd', 'product' or 'plain'."""
    (low, high), across = shape.padding
    if shape.window == (1, 1) and not low + high + sum(across):
        return "product"
    if min(channels, width) < FEWEST_CHANNELS or shape.window != (3, 3):
        return "plain"
    if shape.stride == 1 and low == high and (low, high) == across and low <= 2 and winograd.pays(*shape.out):
        return "winograd"
    return "product" if shape.stride > 1 else "plain"


def _forward(x: jax.Array, w: jax.Array, *, shape: Shape) -> jax.Array:
    way = _way(shape, *w.shape[2:])
    if way == "winograd":
        return winograd.forward(x, w, shape.padding[0][0])
    if way == "product":
        return _patches(x, shape, jnp.zeros((), x.dtype)) @ w.reshape(-1, w.shape[3])
    return _plain_forward(x, w, shape=shape)


def _inputs(g: jax.Array, w: jax.Array, *, shape: Shape) -> jax.Array:
    way = _way(shape, *w.shape[2:])
    if way == "winograd":
        return winograd.forward(g, w[::-1, ::-1].swapaxes(2, 3), 2 - shape.padding[0][0])
    if way == "product":
        return _by_phases(g, w, shape)
    return _plain_inputs(g, w, shape=shape)


def _kernel(x: jax.Array, g: jax.Array, *, shape: Shape) -> jax.Array:
    c, d = x.shape[3], g.shape[3]
    way = _way(shape, c, d)
    if way == "winograd":
        return winograd.kernel_gradient(x, g, shape.padding[0][0])
    if way == "product":
        # As in `winograd.kernel_gradient`, so that the patches of the forward pass are not kept.
        patches = _patches(x, shape, 0 * g[0, 0, 0, 0])
        product = winograd.transposed(g.reshape(-1, d)) @ patches.reshape(-1, patches.shape[-1])
        return product.reshape(d, *shape.window, c).transpose(1, 2, 3, 0)
    return _plain_kernel(x, g, shape=shape)


def _patches(x: jax.Array, shape: Shape, zero: jax.Array) -> jax.Array:
    """What each output sees, [n, out height, out width, window height * window width * c]; `zero` pads x."""
    x = lax.pad(x, zero, [(0, 0, 0), *((*ends, 0) for ends in shape.padding), (0, 0, 0)])
    (height, width), stride = shape.out, shape.stride
    slices = [
        x[:, i : i + stride * height - stride + 1 : stride, j : j + stride * width - stride + 1 : stride]
        for i in range(shape.window[0])
        for j in range(shape.window[1])
    ]
    return jnp.concatenate(slices, -1)


def _by_phases(g: jax.Array, w: jax.Array, shape: Shape) -> jax.Array:
    """The adjoint in the inputs: each remainder of row and column by the stride is a product of its own.

    The input in row s q + a meets tap i of the kernel in the output of row q + (a + p - i) / s, where that is
    a whole number; columns likewise.
    """
    (n, height, width, _), stride = g.shape, shape.stride
    c, reach = w.shape[2], max(shape.window)
    rows, columns = (-(-side // stride) for side in shape.side)
    ends = [(reach, reach + max(0, many - length)) for many, length in ((rows, height), (columns, width))]
    g = jnp.pad(g, ((0, 0), *ends, (0, 0)))

    def seen(axis, phase):
        taps = [(i, phase + shape.padding[axis][0] - i) for i in range(shape.window[axis])]
        return [(i, reach + offset // stride) for i, offset in taps if offset % stride == 0]

    def one(a, b):
        pairs = [(i, j, up, left) for i, up in seen(0, a) for j, left in seen(1, b)]
        if not pairs:
            return jnp.zeros((n, rows, columns, c), g.dtype)
        seen_g = [g[:, up : up + rows, left : left + columns] for _, _, up, left in pairs]
        return jnp.concatenate(seen_g, -1) @ jnp.concatenate([w[i, j].T for i, j, _, _ in pairs])

    phases = [jnp.stack([one(a, b) for b in range(stride)], 3) for a in range(stride)]
    x = jnp.stack(phases, 2).reshape(n, stride * rows, stride * columns, c)
    return x[:, : shape.side[0], : shape.side[1]]


def _plain_forward(x: jax.Array, w: jax.Array, *, shape: Shape) -> jax.Array:
    strides = (shape.stride, shape.stride)
    return lax.conv_general_dilated(x, w, strides, shape.padding, dimension_numbers=NUMBERS)


def _plain_inputs(g: jax.Array, w: jax.Array, *, shape: Shape) -> jax.Array:
    x = jax.ShapeDtypeStruct((g.shape[0], *shape.side, w.shape[2]), g.dtype)
    return jax.linear_transpose(lambda x: _plain_forward(x, w, shape=shape), x)(g)[0]


def _plain_kernel(x: jax.Array, g: jax.Array, *, shape: Shape) -> jax.Array:
    w = jax.ShapeDtypeStruct((*shape.window, x.shape[3], g.shape[3]), g.dtype)
    return jax.linear_transpose(lambda w: _plain_forward(x, w, shape=shape), w)(g)[0]


def _primitive(name: str, quick: Callable, plain: Callable, out: Callable, rows: bool) -> Primitive:
    """A primitive that is `quick` on CPUs and `plain` elsewhere.

    Args:
        name: shown in traced programs.
        quick: of two arrays and `shape`.
        plain: the same, from JAX's own operations.
        out: the shape of the value.
        rows: whether the first argument's rows are those of the value.
    """
    primitive = Primitive(name)
    primitive.def_abstract_eval(lambda a, b, shape: ShapedArray(out(a.shape, b.shape, shape), a.dtype))
    mlir.register_lowering(primitive, mlir.lower_fun(plain, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(quick, multiple_results=False), platform="cpu")

    @partial(jax.jit, static_argnames="shape")
    def eager(a, b, shape):
        return primitive.bind(a, b, shape=shape)

    def batched(arguments, axes, *, shape):
        a, b = arguments
        if not rows or axes[1] is not None:
            return jax.vmap(partial(plain, shape=shape), axes)(a, b), 0
        a = jnp.moveaxis(a, axes[0], 0)
        value = primitive.bind(a.reshape(math.prod(a.shape[:2]), *a.shape[2:]), b, shape=shape)
        return value.reshape(*a.shape[:2], *value.shape[1:]), 0

    primitive.def_impl(eager)
    batching.primitive_batchers[primitive] = batched
    return primitive


_forward_p = _primitive("conv", _forward, _plain_forward, lambda x, w, s: (x[0], *s.out, w[3]), True)
_inputs_p = _primitive("conv_inputs", _inputs, _plain_inputs, lambda g, w, s: (g[0], *s.side, w[2]), True)
_kernel_p = _primitive("conv_kernel", _kernel, _plain_kernel, lambda x, g, s: (*s.window, x[3], g[3]), False)
ad.defbilinear(
    _forward_p,
    lambda t, x, w, shape: _inputs_p.bind(t, w, shape=shape),
    lambda t, x, w, shape: _kernel_p.bind(x, t, shape=shape),
)
ad.defbilinear(
    _inputs_p,
    lambda t, g, w, shape: _forward_p.bind(t, w, shape=shape),
    lambda t, g, w, shape: _kernel_p.bind(t, g, shape=shape),
)
ad.defbilinear(
    _kernel_p,
    lambda t, x, g, shape: _inputs_p.bind(g, t, shape=shape),
    lambda t, x, g, shape: _forward_p.bind(x, t, shape=shape),
)
