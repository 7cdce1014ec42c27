"""DivideMix's steps and its prediction, against float64 references for softmax regression."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.data import augment
from dmlp_jax.retrain.method import Task
from dmlp_jax.retrain.methods import mixing
from dmlp_jax.retrain.methods.dividemix import make_dividemix
from tests.retrain.methods.dividemix_helpers import (
    batch_of,
    dividemix_settings,
    equal_trees,
    first_state,
    heads,
    random_rows,
    reference_loss,
    reference_slope,
    sharpened,
    simplex,
    softmax,
)

SIZE, RATE, LAMBDA = 6, 0.1, 25.0
VIEW_SCALES = (1.0, 0.8, 1.3, 0.6)


draw = jax.jit(mixing.draw, static_argnums=(1, 2, 3, 4))


@functools.cache
def make(**changes):
    settings = dividemix_settings(batch_size=SIZE, **changes)
    made = make_dividemix(settings, Task(3, 10, None))
    return made._replace(train_step=jax.jit(made.train_step, static_argnames="axis_name"))


def started(chosen, train, seed=0):
    """A fresh pair that is not sure of its labels."""
    state = first_state(chosen, train, seed)
    clean = np.random.default_rng(seed).random((2, len(train.inputs)))
    return state._replace(clean=jnp.asarray(clean, jnp.float32))


def parts_of(which=0, weight=LAMBDA):
    rng = np.random.default_rng(3)
    rows = {"labelled": rng.permutation(15)[:SIZE], "unlabelled": 15 + rng.permutation(15)[:SIZE]}
    info = {
        "network": jnp.int32(which),
        "lambda_u": jnp.float32(weight),
        "labelled": jnp.float32(0.4),
    }
    return rows, info


def reference_step(state, train, rows, which, key, weight=LAMBDA, scales=(1.0,) * 4, mixed=4 * SIZE):
    """Loss, kernel and bias of network `which` after one step on the first `mixed` mixtures."""
    kernel, bias = heads(state)
    inputs, targets = np.float64(train.inputs), np.float64(train.targets)
    parts = (rows["labelled"], rows["labelled"], rows["unlabelled"], rows["unlabelled"])
    views = [scale * inputs[part] for part, scale in zip(parts, scales, strict=True)]
    own = [softmax(view @ kernel[which] + bias[which]) for view in views]
    peer = [softmax(view @ kernel[1 - which] + bias[1 - which]) for view in views]
    clean = np.float64(state.clean)[1 - which, rows["labelled"]][:, None]
    refined = sharpened(clean * targets[rows["labelled"]] + (1 - clean) * (own[0] + own[1]) / 2, 0.5)
    guessed = sharpened((own[2] + own[3] + peer[2] + peer[3]) / 4, 0.5)

    mix = draw(jax.random.split(key, 3)[0], 4, SIZE, 4.0, None)
    share, partners = float(mix.share), np.asarray(mix.partners).ravel()
    assert 0.5 <= share <= 1
    assert sorted(partners) == list(range(4 * SIZE))
    flat, goals = np.concatenate(views), np.concatenate([refined, refined, guessed, guessed])
    flat, goals = ((share * x + (1 - share) * x[partners])[:mixed] for x in (flat, goals))

    logits = flat @ kernel[which] + bias[which]
    slope = reference_slope(logits, goals, 2 * SIZE, weight)
    loss = reference_loss(logits, goals, 2 * SIZE, weight)
    return loss, kernel[which] - RATE * flat.T @ slope, bias[which] - RATE * slope.sum(axis=0)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("weight", [0.0, LAMBDA])
def test_step_is_the_papers(which, weight):
    chosen, train = make(), random_rows(0, 30)
    state = started(chosen, train)
    rows, info = parts_of(which, weight)
    key = jax.random.key(5)
    after, metrics = chosen.train_step(state, batch_of(train, rows, key, info), axis_name=None)
    loss, kernel, bias = reference_step(state, train, rows, which, key, weight)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(heads(after)[0][which], kernel, atol=2e-6)
    np.testing.assert_allclose(heads(after)[1][which], bias, atol=2e-6)
    assert np.abs(heads(after)[0][which] - heads(state)[0][which]).max() > 1e-3
    own = softmax(np.float64(train.inputs) @ heads(state)[0][which] + heads(state)[1][which])
    hits = own[rows["labelled"]].argmax(axis=1) == train.targets[rows["labelled"]].argmax(axis=1)
    np.testing.assert_allclose(metrics["train_accuracy"], hits.mean(), rtol=1e-6)


def test_on_clothing1m_only_the_mixtures_of_labelled_rows_are_learned():
    """Their partners may be unlabelled; the penalty is of these mixtures too."""
    chosen, train = make(labelled_only=True), random_rows(0, 30)
    state, key = started(chosen, train), jax.random.key(5)
    rows, info = parts_of(0, 0.0)
    after, metrics = chosen.train_step(state, batch_of(train, rows, key, info), axis_name=None)
    loss, kernel, bias = reference_step(state, train, rows, 0, key, 0.0, mixed=2 * SIZE)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(heads(after)[0][0], kernel, atol=2e-6)
    np.testing.assert_allclose(heads(after)[1][0], bias, atol=2e-6)
    every, *_ = reference_step(state, train, rows, 0, key, 0.0)
    assert abs(every - loss) > 1e-4


@pytest.mark.parametrize("which", [0, 1])
def test_step_leaves_the_other_network_and_the_judgement_alone(which):
    chosen, train = make(), random_rows(0, 30)
    state = started(chosen, train)
    rows, info = parts_of(which)
    batch = batch_of(train, rows, jax.random.key(5), info)
    after, _ = chosen.train_step(state, batch, axis_name=None)
    other = [jax.tree.map(lambda leaf: leaf[1 - which], one.networks) for one in (state, after)]
    assert equal_trees(*other)
    assert equal_trees((state.clean, state.losses), (after.clean, after.losses))


def test_every_row_is_guessed_from_two_views_of_its_own(monkeypatch):
    """Four views of different size, told apart by the order in which the policy makes them."""
    seen, drawn = [], []

    def policy(keys, images):
        jax.debug.callback(drawn.append, jax.random.key_data(keys))
        seen.append(keys)
        return VIEW_SCALES[len(seen) - 1] * images

    monkeypatch.setattr(augment, "make", lambda name, **_: policy)
    chosen, train = make.__wrapped__(), random_rows(0, 30)
    state = started(chosen, train)
    rows, info = parts_of()
    key = jax.random.key(6)
    after, metrics = chosen.train_step(state, batch_of(train, rows, key, info), axis_name=None)
    loss, kernel, _ = reference_step(state, train, rows, 0, key, scales=VIEW_SCALES)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(heads(after)[0][0], kernel, atol=2e-6)
    assert len(seen) == 4
    jax.effects_barrier()
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 4 * SIZE


@pytest.mark.parametrize("penalty", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_warm_up_learns_all_labels(which, penalty):
    chosen, train = make(confidence_penalty=penalty), random_rows(1, 30)
    train = train._replace(targets=np.float32(simplex(2, 30, 3)))
    state = started(chosen, train)
    rows = {"all": np.random.default_rng(4).permutation(30)[: 2 * SIZE]}
    batch = batch_of(train, rows, jax.random.key(0), {"network": jnp.int32(which)})
    after, metrics = chosen.train_step(state, batch, axis_name=None)

    kernel, bias = heads(state)
    inputs, targets = (np.float64(x)[rows["all"]] for x in (train.inputs, train.targets))
    probs = softmax(inputs @ kernel[which] + bias[which])
    loss = -np.sum(targets * np.log(probs), axis=1)
    slope = probs - targets
    if penalty:
        entropy = np.sum(probs * np.log(probs), axis=1)
        loss = loss + entropy
        slope = slope + probs * (np.log(probs) - entropy[:, None])
    np.testing.assert_allclose(metrics["loss"], loss.mean(), rtol=1e-5)
    expected = kernel[which] - RATE * inputs.T @ slope / (2 * SIZE)
    np.testing.assert_allclose(heads(after)[0][which], expected, atol=2e-6)
    np.testing.assert_allclose(heads(after)[1][which], bias[which] - RATE * slope.mean(axis=0), atol=2e-6)
    other = [jax.tree.map(lambda leaf: leaf[1 - which], one.networks) for one in (state, after)]
    assert equal_trees(*other)


def test_running_statistics_are_those_of_the_guesses_of_the_network_that_learns():
    chosen, train = make(model="mlp"), random_rows(0, 30)
    state = started(chosen, train)
    rows, info = parts_of(which=1)
    batch = batch_of(train, rows, jax.random.key(5), info)
    after, _ = chosen.train_step(state, batch, axis_name=None)
    kernel = np.float64(state.networks.params["encoder"]["Dense_0"]["kernel"])[1]
    both = np.concatenate([train.inputs[rows["labelled"]], train.inputs[rows["unlabelled"]]])
    hidden = np.float64(both) @ kernel
    found = after.networks.batch_stats["encoder"]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"][1], 0.1 * hidden.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["var"][1], 0.9 + 0.1 * hidden.var(axis=0), atol=1e-5)
    np.testing.assert_array_equal(found["mean"][0], 0)
    np.testing.assert_array_equal(found["var"][0], 1)


def test_learner_guesses_in_training_mode_and_its_peer_in_evaluation_mode():
    """Running statistics change what the peer says, and nothing of what the learner does."""
    chosen, train = make(model="mlp"), random_rows(0, 30)
    state = started(chosen, train)
    rows, info = parts_of(which=1)
    batch = batch_of(train, rows, jax.random.key(5), info)

    def outcome(changed):
        norm = state.networks.batch_stats["encoder"]["BatchNorm_0"]
        stats = {"encoder": {"BatchNorm_0": {**norm, "mean": norm["mean"].at[changed].add(3.0)}}}
        networks = state.networks._replace(batch_stats=stats)
        after, metrics = chosen.train_step(state._replace(networks=networks), batch, axis_name=None)
        return metrics["loss"], after.networks.params["head"]["kernel"][1]

    plain, own, peer = outcome(jnp.array([], int)), outcome(1), outcome(0)
    assert equal_trees(plain, own)
    assert abs(plain[0] - peer[0]) > 1e-3


def test_networks_start_apart_and_judge_nothing():
    state = first_state(make(), random_rows(0, 30))
    kernel, _ = heads(state)
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01
    np.testing.assert_array_equal(state.clean, np.ones((2, 30)))
    assert state.losses.shape == (2, 1, 30)
    assert np.all(np.isnan(state.losses))


def test_prediction_is_the_softmax_of_summed_logits():
    chosen, train = make(), random_rows(0, 30)
    state = started(chosen, train)
    kernel, bias = heads(state)
    expected = softmax(np.float64(train.inputs) @ kernel.sum(axis=0) + bias.sum(axis=0))
    np.testing.assert_allclose(chosen.predict(state, jnp.asarray(train.inputs)), expected, atol=1e-6)
