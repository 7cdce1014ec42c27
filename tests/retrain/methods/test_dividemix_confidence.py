"""DivideMix where labels are judged by their own probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Task
from dmlp_jax.retrain.methods.dividemix import make_dividemix
from tests.retrain.methods.dividemix_helpers import (
    batch_of,
    dividemix_settings,
    equal_trees,
    first_state,
    random_rows,
)

SIZE, ROWS = 10, 80
KEY = jax.random.key(3)


def made(**changes):
    settings = dividemix_settings(batch_size=SIZE, divide_warmup=0, divide_by="confidence", **changes)
    return make_dividemix(settings, Task(3, 10, None))


def soft_rows():
    """A third of the rows unsure, below the threshold of one half."""
    train = random_rows(0, ROWS)
    unsure = np.arange(ROWS) % 3 == 0
    label = np.argmax(train.targets, axis=1)
    others = (1 - train.targets) * np.where(unsure, 0.275, 0.05)[:, None]
    targets = np.float32(others + train.targets * np.where(unsure, 0.45, 0.9)[:, None])
    np.testing.assert_array_equal(np.argmax(targets, axis=1), label)
    return train._replace(targets=targets), unsure


def test_rows_are_divided_by_the_probability_of_their_label():
    train, unsure = soft_rows()
    chosen = made()
    state = first_state(chosen, train)
    state, plan = chosen.make_planner(train, jax.local_devices()[:1])(state, 0, KEY)
    for which in (0, 1):
        np.testing.assert_allclose(state.clean[which], np.where(unsure, 0.45, 0.9), rtol=1e-6)
        own = plan.info["network"] == which
        assert set(plan.indices["labelled"][own].ravel()) == set(np.flatnonzero(~unsure))
        assert set(plan.indices["unlabelled"][own].ravel()) == set(np.flatnonzero(unsure))


def test_one_hot_labels_are_judged_by_losses_all_the_same():
    train = random_rows(0, ROWS)
    chosen, usual = (
        made(),
        make_dividemix(
            dividemix_settings(batch_size=SIZE, divide_warmup=0, divide_by="losses"), Task(3, 10, None)
        ),
    )
    states = [
        one.make_planner(train, jax.local_devices()[:1])(first_state(one, train), 0, KEY)[0]
        for one in (chosen, usual)
    ]
    assert equal_trees(*states)
    assert np.ptp(states[0].clean) > 0


def test_probabilities_count_once():
    """They weigh the labels; the labels themselves are then the most probable classes."""
    train, _ = soft_rows()
    sharp = train._replace(targets=np.eye(3, dtype=np.float32)[np.argmax(train.targets, axis=1)])
    chosen = made()
    state = first_state(chosen, train)
    state = state._replace(clean=jnp.asarray(np.tile(np.max(train.targets, axis=1), (2, 1))))
    rows = {"labelled": np.arange(SIZE), "unlabelled": np.arange(SIZE, 2 * SIZE)}
    info = {"network": jnp.int32(0), "lambda_u": jnp.float32(0), "labelled": jnp.float32(0.5)}
    step = jax.jit(chosen.train_step, static_argnames="axis_name")
    after = [step(state, batch_of(which, rows, KEY, info), axis_name=None)[0] for which in (train, sharp)]
    assert equal_trees(*after)


def test_unknown_division_is_refused():
    with pytest.raises(UserError, match="divide_by is 'loss'"):
        make_dividemix(dividemix_settings(divide_by="loss"), Task(3, 10, None))
