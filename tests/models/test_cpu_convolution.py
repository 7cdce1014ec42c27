"""The oracle of values is a float64 sum over the window, that of derivatives is XLA's own convolution."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dmlp_jax.models import winograd
from dmlp_jax.models.cpu_convolution import NUMBERS, convolve

# Side, channels, width, window, stride, padding; the way that a CPU takes is in the test's name.
WAYS = {
    "winograd": (8, 16, 24, 3, 1, 1),
    "winograd-odd": (7, 24, 16, 3, 1, 1),
    "winograd-valid": (9, 16, 16, 3, 1, 0),
    "winograd-full": (6, 16, 16, 3, 1, 2),
    "product": (8, 16, 24, 3, 2, 1),
    "product-odd": (7, 16, 24, 3, 2, 1),
    "product-valid": (8, 16, 16, 3, 2, 0),
    "product-third": (8, 16, 16, 3, 3, 1),
    "point": (5, 3, 6, 1, 1, 0),
    "point-strided": (7, 6, 3, 1, 2, 0),
    "point-strided-even": (8, 6, 3, 1, 2, 0),
    "plain-stem": (8, 3, 16, 3, 1, 1),
    "plain-tiny": (2, 16, 16, 3, 1, 1),
    "plain-seven": (10, 3, 8, 7, 2, 3),
    "plain-seven-wide": (9, 16, 16, 7, 2, 3),
}
TOLERANCE = 2e-5


def arrays(side, channels, width, window, rows=2):
    draw = np.random.default_rng(0).standard_normal
    x = draw((rows, side, side + 1, channels)).astype(np.float32)
    return x, draw((window, window, channels, width)).astype(np.float32)


def both(stride, padding):
    """Ours and XLA's."""

    def pair(function):
        return lambda x, w: function(
            x, w, (stride, stride), ((padding, padding),) * 2, dimension_numbers=NUMBERS
        )

    return pair(convolve), pair(lax.conv_general_dilated)


def close(ours, theirs, tolerance=TOLERANCE):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def summed(x, w, stride, padding):
    """The definition in float64."""
    x, w = np.pad(x.astype(float), ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))), w.astype(float)
    size = w.shape[0]
    height, width = ((length - size) // stride + 1 for length in x.shape[1:3])
    y = np.zeros((len(x), height, width, w.shape[3]))
    for i, j in itertools.product(range(size), range(size)):
        y += (
            x[:, i : i + stride * height : stride, j : j + stride * width : stride][:, :height, :width]
            @ w[i, j]
        )
    return y


@pytest.mark.parametrize("way", WAYS)
def test_values_are_those_of_the_definition(way):
    *sizes, stride, padding = WAYS[way]
    x, w = arrays(*sizes)
    close(jax.jit(both(stride, padding)[0])(x, w), summed(x, w, stride, padding))


@pytest.mark.parametrize("way", WAYS)
def test_derivatives_of_every_order_are_those_of_xla(way):
    *sizes, stride, padding = WAYS[way]
    x, w = arrays(*sizes)

    def derivatives(function):
        def loss(x, w):
            return jnp.sum(jnp.sin(0.1 * function(x, w)))

        def slope(x, w):
            return sum(jnp.sum(jnp.cos(part)) for part in jax.grad(loss, (0, 1))(x, w))

        def found(x, w):
            forward = jax.jvp(function, (x, w), (jnp.cos(x), jnp.sin(w)))
            over = jax.jvp(jax.grad(loss, (0, 1)), (x, w), (jnp.cos(x), jnp.sin(w)))
            return jax.grad(loss, (0, 1))(x, w), jax.grad(slope, (0, 1))(x, w), forward, over

        return jax.jit(found)(x, w)

    ours, theirs = both(stride, padding)
    close(derivatives(ours), derivatives(theirs))


def test_winograd_errs_by_a_few_roundings():
    draw = np.random.default_rng(0).standard_normal
    x, w = draw((4, 16, 16, 64)).astype(np.float32), draw((3, 3, 64, 64)).astype(np.float32)
    exact = summed(x, w, 1, 1)
    error = winograd.forward(jnp.asarray(x), jnp.asarray(w), 1) - exact
    assert np.sqrt(np.mean(error**2)) < 5e-6 * np.sqrt(np.mean(exact**2))
    g = draw(exact.shape).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(float)
    pairs = itertools.product(range(3), range(3))
    exact = np.array(
        [np.tensordot(padded[:, i : i + 16, j : j + 16], g.astype(float), ((0, 1, 2),) * 2) for i, j in pairs]
    )
    error = winograd.kernel_gradient(jnp.asarray(x), jnp.asarray(g), 1).reshape(exact.shape) - exact
    assert np.sqrt(np.mean(error**2)) < 1e-5 * np.sqrt(np.mean(exact**2))


@pytest.mark.parametrize("axes", [(0, None), (2, None), (None, 0), (0, 1)])
@pytest.mark.parametrize("way", ["winograd", "product", "point"])
def test_vmap(way, axes):
    *sizes, stride, padding = WAYS[way]
    x, w = arrays(*sizes)
    if axes[0] is not None:
        x = np.stack([x, x[::-1], 2 * x], axes[0])
    if axes[1] is not None:
        w = np.stack([w, w[::-1], 2 * w], axes[1])

    def found(function):
        gradient = jax.grad(lambda x, w: jnp.sum(jnp.sin(0.1 * function(x, w))), (0, 1))
        return jax.jit(jax.vmap(function, axes))(x, w), jax.jit(jax.vmap(gradient, axes))(x, w)

    ours, theirs = both(stride, padding)
    close(found(ours), found(theirs))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_types_are_left_to_xla(dtype):
    x, w = (jnp.asarray(array, dtype) for array in arrays(8, 16, 16, 3))
    ours, theirs = both(1, 1)
    text = jax.jit(ours).lower(x, w).as_text()
    assert text == jax.jit(theirs).lower(x, w).as_text()
    np.testing.assert_array_equal(ours(x, w), theirs(x, w))


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "SAME"},
        {"padding": "VALID", "strides": (2, 2)},
        {"padding": ((1, 0), (0, 2))},
        {"strides": (1, 2)},
        {"kernel_dilation": (2, 2)},
        {"feature_group_count": 2},
        {"precision": "highest"},
    ],
)
def test_options_of_flax(options):
    x, _ = arrays(8, 16, 16, 3)
    ours, theirs = (
        nn.Conv(16, (3, 3), conv_general_dilated=function, **options) for function in (convolve, None)
    )
    variables = theirs.init(jax.random.key(0), x)
    close(jax.jit(ours.apply)(variables, x), jax.jit(theirs.apply)(variables, x))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_devices_get_the_same_program(platform):
    def program(function):
        def loss(w, x):
            y = function(x, w["first"], (1, 1), ((1, 1), (1, 1)), dimension_numbers=NUMBERS)
            y = function(jax.nn.relu(y), w["second"], (2, 2), ((1, 1), (1, 1)), dimension_numbers=NUMBERS)
            y = function(jax.nn.relu(y), w["third"], (1, 1), ((0, 0), (0, 0)), dimension_numbers=NUMBERS)
            return jnp.sum(jnp.sin(y))

        x, _ = arrays(8, 16, 16, 3)
        kernels = {name: jnp.zeros((size, size, 16, 16)) for name, size in
                   (("first", 3), ("second", 3), ("third", 1))}  # fmt: skip
        traced = jax.jit(jax.value_and_grad(loss)).trace(kernels, x)
        return traced.lower(lowering_platforms=(platform,)).as_text()

    assert program(convolve) == program(lax.conv_general_dilated)
