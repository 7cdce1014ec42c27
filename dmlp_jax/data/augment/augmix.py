"""Implements AugMix (Hendrycks et al., ICLR 2020) inside jit, with the operations and strength of RRL.

RRL's code applies one of the three chains only and fades it towards the mean image, by a loop that ended too
early; here all three are mixed, as in the paper.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.data.augment import randaugment

_CHAINS, _LENGTH = 3, 3
_BLENDS = [randaugment.OPS.index(name) for name in ("brightness", "color", "contrast", "sharpness")]
_SHIFTS = [randaugment.OPS.index(name) for name in ("translate_x", "translate_y")]
_SIGNED = randaugment.OPS.index("rotate")


def random_mix(key: jax.Array, image: jax.Array) -> jax.Array:
    """(1 - m) x + m sum_i w_i chain_i(x), for one image x [h, w, 1 or 3] in [0, 1].

    m is uniform in [0, 1], w uniform on the simplex. Each of three chains has one to three random operations
    with levels uniform in [.1, 1] of 10: rotations of up to 3 degrees, shears of up to .03, shifts of up to a
    thirtieth of the side, solarising from 230 on at most, posterising to four bits. Brightness, colour,
    contrast and sharpness are kept to between .118 and .28, as the authors' code has it.
    """
    weight_key, share_key, chain_key = jax.random.split(key, 3)
    weights = jax.random.dirichlet(weight_key, jnp.ones(_CHAINS))
    share = jax.random.uniform(share_key)
    chains = jax.vmap(_chain, in_axes=(0, None))(jax.random.split(chain_key, _CHAINS), image)
    return (1.0 - share) * image + share * jnp.tensordot(weights, chains, axes=1)


def _chain(key: jax.Array, image: jax.Array) -> jax.Array:
    length_key, *op_keys = jax.random.split(key, 1 + _LENGTH)
    length = jax.random.randint(length_key, (), 1, 1 + _LENGTH)
    found = jnp.round(255.0 * image)
    for number, one in enumerate(op_keys):
        op_key, level_key, sign_key = jax.random.split(one, 3)
        op = jax.random.randint(op_key, (), 1, len(randaugment.OPS))
        level = scaled(op, jax.random.uniform(level_key, minval=0.1, maxval=1.0))
        level = jnp.where((op >= _SIGNED) & jax.random.bernoulli(sign_key), -level, level)
        found = jnp.where(number < length, randaugment.apply(op, level, found), found)
    return found / 255.0


def scaled(op: jax.Array, level: jax.Array) -> jax.Array:
    """The level of `randaugment.apply` that is AugMix's `level`, up to 10, of an operation.

    AugMix blends with weight .1 + .18 level on the image and shifts by level/30 of the side.
    """
    blends = jnp.isin(op, jnp.asarray(_BLENDS))
    shifts = jnp.isin(op, jnp.asarray(_SHIFTS))
    return jnp.where(blends, (0.05 + 0.18 * level) / 0.09, jnp.where(shifts, level * 10 / 9, level))
