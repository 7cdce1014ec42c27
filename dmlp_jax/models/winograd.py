"""Computes 3x3 convolutions of stride 1 by Winograd's method, F(4x4, 3x3) of Lavin and Gray (2016).

A tile of 4x4 outputs needs 6x6 inputs. For each pair of input and output channel the tile is

    Y = A^T [(G w G^T) * (B^T x B)] A,

with * elementwise: 36 multiplications where the definition takes 144. Summed over input channels, the 36
elements are 36 matrix products over all tiles. Its adjoint in w is G^T [(B^T x B) * (A g A^T)] G.

In float32 the root mean square of its error is some 1e-6 to 1e-5 of that of the values.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Lavin and Gray 2016, section 4.3.
_B = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float32) / 24
_A = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32
)
# Both axes at once, [36, 9] and [16, 36].
_GG, _AA = np.kron(_G, _G), np.kron(_A, _A)


def pays(height: int, width: int) -> bool:
    """Whether an output of this size takes at most two thirds of the direct sum's multiplications."""
    return 36 * _tiles(height) * _tiles(width) <= 6 * height * width


def forward(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    """The convolution [n, h + 2 p - 2, w + 2 p - 2, d] of x [n, h, w, c] and kernel [3, 3, c, d].

    Args:
        x: float32.
        kernel: float32.
        padding: p, zeros on each side of both axes.
    """
    n, height, width = x.shape[0], x.shape[1] + 2 * padding - 2, x.shape[2] + 2 * padding - 2
    rows, columns = _tiles(height), _tiles(width)
    kernels = (jnp.asarray(_GG) @ kernel.reshape(9, -1)).reshape(36, *kernel.shape[2:])
    products = _transformed(x, padding, jnp.zeros((), x.dtype)) @ kernels
    y = (jnp.asarray(_AA) @ products.reshape(36, -1)).reshape(4, 4, n, rows, columns, -1)
    y = y.transpose(2, 3, 0, 4, 1, 5).reshape(n, 4 * rows, 4 * columns, -1)
    return y[:, :height, :width]


def kernel_gradient(x: jax.Array, g: jax.Array, padding: int) -> jax.Array:
    """The gradient [3, 3, c, d] of sum(g * forward(x, kernel)) in the kernel.

    Args:
        x: [n, h, w, c], float32.
        g: [n, h + 2 p - 2, w + 2 p - 2, d], float32.
        padding: p.
    """
    n, height, width, d = g.shape
    rows, columns = _tiles(height), _tiles(width)
    # A zero that depends on g. Without it XLA recognises the tiles of the forward pass and keeps them for
    # the backward pass, 2.25 times the memory of x. A barrier does not help: on CPUs XLA drops it first.
    zero = 0 * g[0, 0, 0, 0]
    tiles = _transformed(x, padding, zero)
    g = jnp.pad(g, ((0, 0), (0, 4 * rows - height), (0, 4 * columns - width), (0, 0)))
    g = g.reshape(n, rows, 4, columns, 4, d).transpose(2, 4, 0, 1, 3, 5)
    g = transposed(g.reshape(-1, d)).reshape(d, 16, -1).swapaxes(0, 1)
    products = (jnp.asarray(_AA.T) @ g.reshape(16, -1)).reshape(36, d, -1) @ tiles
    return (jnp.asarray(_GG.T) @ products.reshape(36, -1)).reshape(3, 3, d, -1).swapaxes(2, 3)


def transposed(matrix: jax.Array) -> jax.Array:
    """The transpose as an array of its own.

    Left to itself, XLA would move it into the product that follows, whose routine for a transposed left
    factor is two to three times as slow.
    """
    return lax.optimization_barrier(matrix.T)


def _tiles(length: int) -> int:
    return -(-length // 4)


def _transformed(x: jax.Array, padding: int, zero: jax.Array) -> jax.Array:
    """B^T x B of all tiles, [36, n * rows * columns, c]; `zero` pads x."""
    n, height, width, c = x.shape
    rows, columns = (_tiles(length + 2 * padding - 2) for length in (height, width))
    ends = [
        (padding, 4 * (tiles + 1) - length - padding, 0)
        for tiles, length in ((rows, height), (columns, width))
    ]
    padded = lax.pad(x, zero, [(0, 0, 0), *ends, (0, 0, 0)]).reshape(n, rows + 1, 4, 4 * (columns + 1), c)
    parts = [padded[:, i // 4 : i // 4 + rows, i % 4] for i in range(6)]
    down = _combined(parts, axis=0).reshape(6, n, rows, columns + 1, 4, c)
    parts = [down[:, :, :, j // 4 : j // 4 + columns, j % 4] for j in range(6)]
    return _combined(parts, axis=1).reshape(36, n * rows * columns, c)


def _combined(parts: Sequence[jax.Array], axis: int) -> jax.Array:
    """B^T applied to six arrays, stacked. Sums cost less than to gather the arrays for a matrix product."""
    rows = [
        sum(weight * part for weight, part in zip(row.tolist(), parts, strict=True) if weight) for row in _B
    ]
    return jnp.stack(rows, axis)
