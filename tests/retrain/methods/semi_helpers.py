"""What the tests of semi-supervised methods share: linear networks on images, views by formula, batches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.data import augment
from dmlp_jax.models import registry
from dmlp_jax.models.norm import batch_norm
from dmlp_jax.retrain.method import TrainingSet
from tests.retrain import helpers
from tests.retrain.methods.dividemix_helpers import batch_of

METHODS = ("mean_teacher", "mixmatch", "fixmatch", "uda")
RATIOS = {"mean_teacher": 2, "mixmatch": 1, "fixmatch": 3, "uda": 2}
SHAPE = (2, 3, 1)
CLEAN, OTHERS = 5, 14


class Flat(nn.Module):
    """The pixels, perhaps normalised over the batch."""

    norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train):
        x = images.reshape(len(images), -1)
        return batch_norm(train, None, self.axis_name)()(x) if self.norm else x


def linear_on_images(monkeypatch, norm=False):
    """Makes every encoder the pixels themselves."""
    monkeypatch.setattr(registry, "make_encoder", lambda name, axis_name, **_: Flat(norm, axis_name))


def weak(images):
    return 0.8 * images + 0.05


def strong(images):
    return 0.5 * images - 0.2


def views_by_formula(monkeypatch):
    """Replaces the policies by `weak` and, for any strong one, `strong`."""
    made = {"none": weak, "strong": strong}
    monkeypatch.setattr(augment, "make", lambda name, **_: lambda keys, images: made[name](images))


def settings(name, **changes):
    """The small recipe on softmax regression under plain gradient descent."""
    own = {"unlabelled_ratio": RATIOS[name], "batch_size": 4}
    if name in ("fixmatch", "uda"):
        own["strong_augment"] = "strong"
    return helpers.settings(name, **{**own, **changes})


def images_set(classes=3, seed=0, clean=CLEAN, others=OTHERS, scale=3.0):
    """Random images, spread enough that some predictions are sure; labels of all, the clean rows last."""
    rng = np.random.default_rng(seed)
    inputs = (scale * rng.normal(size=(others + clean, *SHAPE))).astype(np.float32)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(classes, size=others + clean)]
    return TrainingSet(inputs, targets, 0.0, clean)


def batch(train, ratio, size=4, epoch=0.0, seed=0):
    """A batch of clean rows and `ratio` times as many others, and their row numbers."""
    rng = np.random.default_rng(seed)
    labelled = len(train.inputs) - train.num_clean + rng.permutation(train.num_clean)[:size]
    order = rng.permutation(len(train.inputs) - train.num_clean)[: ratio * size]
    rows = {"labelled": labelled}
    rows |= {f"unlabelled{part}": order[part * size : (part + 1) * size] for part in range(ratio)}
    return batch_of(train, rows, jax.random.key(seed), (), epoch), labelled, order


def with_heads(state, rng):
    """The state with random weights, others in the average than in the network."""

    def redrawn(tree):
        return jax.tree.map(lambda leaf: jnp.float32(0.7 * rng.normal(size=leaf.shape)), tree)

    return state._replace(
        network=state.network._replace(params=redrawn(state.network.params)),
        average=state.average._replace(params=redrawn(state.average.params)),
    )
