"""Whatever the arguments, `purify` names the one it cannot work with or gives distributions."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dmlp_jax import InputError, PurifyConfig, predict, purify

CONFIG = PurifyConfig(steps=3, race_steps=1)
# Rows, width, classes, clean rows a class. Each shape, type and optional argument compiles for itself.
SHAPES = [(30, 4, 3, 2), (1, 1, 2, 1), (7, 9, 5, 1)]
MORE_SHAPES = [*SHAPES, (2, 3, 2, 1), (64, 1, 4, 3), (40, 40, 2, 5), (300, 12, 30, 2)]
FEATURES = {
    "ordinary": lambda x: x,
    "constant": lambda x: np.full_like(x, 3.25),
    "zero": np.zeros_like,
    "rows all equal": lambda x: np.repeat(x[:1], len(x), axis=0),
    "rows twice": lambda x: x[np.arange(len(x)) // 2],
    "collinear": lambda x: x[:, :1] @ np.arange(1.0, x.shape[1] + 1)[None],
    "one column constant": lambda x: np.where(np.arange(x.shape[1]) == 0, 7.0, x),
    "far from the origin": lambda x: x + 1e4,
    "tiny": lambda x: 1e-30 * x,
    "huge": lambda x: 1e30 * x,
    "columns of all sizes": lambda x: x * np.logspace(-15, 15, x.shape[1]),
    "one row far off": lambda x: np.where(np.arange(len(x))[:, None] == 0, 1e6 * x, x),
    "sparse": lambda x: np.where(x > 1.5, x, 0.0),
}
KINDS = (np.float64, np.float32, np.float16, jnp.bfloat16, np.int8, np.int64, np.uint8)
LABELS = ("all classes", "one class", "two classes", "as the clean rows", "distributions", "certain")
# What is done to the arguments, and the word by which the message names the argument.
FAULTS = {
    "NaN in features": "features[",
    "infinity in features": "features[",
    "NaN in val features": "val features[",
    "a label too large": "labels[",
    "a negative label": "labels[",
    "labels of floats": "labels must",
    "a clean class missing": "val labels has no row of class",
    "too few labels": "labels has",
    "another width": "val features has",
    "a distribution of 2": "labels[",
    "a weight of NaN": "sample_weight[",
}


@st.composite
def problems(draw, shapes, kinds=KINDS, labels=LABELS, optional=True):
    """Arguments of `purify` that are right."""
    rows, width, classes, clean = draw(st.sampled_from(shapes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    val_labels = rng.permutation(np.repeat(np.arange(classes), clean))
    shape = FEATURES[draw(st.sampled_from(sorted(FEATURES)))]
    pool = shape(rng.normal(size=(rows + len(val_labels), width)) * 3)
    kind = draw(st.sampled_from(kinds))
    if np.dtype(kind).kind in "iu":
        pool = np.clip(np.nan_to_num(pool), 0, 100)
    if kind == np.float16:
        pool = np.clip(pool, -6e4, 6e4)
    features = np.asarray(pool, kind)
    which = draw(st.sampled_from(labels))
    given_labels = rng.integers(classes, size=rows)
    if which == "one class":
        given_labels[:] = classes - 1
    elif which == "two classes":
        given_labels %= 2
    elif which == "as the clean rows":
        given_labels = np.resize(val_labels, rows)
    elif which == "distributions":
        given_labels = rng.dirichlet(np.full(classes, 0.3), rows).astype(np.float32)
    elif which == "certain":
        given_labels = np.eye(classes, dtype=np.float32)[given_labels]
    arguments = {
        "features": features[:rows],
        "labels": given_labels,
        "val_features": features[rows:],
        "val_labels": val_labels,
        "num_classes": classes,
        "sample_weight": None,
        "val_given_labels": None,
        "val_random": None,
    }
    if optional and draw(st.booleans()):
        arguments["sample_weight"] = np.where(np.arange(rows) == 0, 1.0, rng.integers(0, 3, rows))
    if optional and draw(st.booleans()):
        # -1 is unknown.
        arguments["val_given_labels"] = rng.integers(-1, classes, size=len(val_labels))
    if optional and draw(st.booleans()):
        arguments["val_random"] = rng.random(len(val_labels)) < rng.random()
    return arguments


def call(arguments):
    arguments = dict(arguments)
    val = (arguments.pop("val_features"), arguments.pop("val_labels"))
    return purify(arguments.pop("features"), arguments.pop("labels"), val, config=CONFIG, **arguments)


def assert_distributions(probs, rows, classes):
    probs = np.asarray(probs, np.float64)
    assert probs.shape == (rows, classes)
    assert np.isfinite(probs).all()
    assert probs.min() >= 0
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def check_result(arguments):
    found = call(arguments)
    rows, classes = len(arguments["features"]), arguments["num_classes"]
    assert_distributions(found.probs, rows, classes)
    labels, probs, confidence = (np.asarray(a) for a in (found.labels, found.probs, found.confidence))
    assert labels.shape == confidence.shape == np.asarray(found.changed).shape == (rows,)
    assert labels.dtype.kind == "i"
    assert ((labels >= 0) & (labels < classes)).all()
    np.testing.assert_allclose(probs[np.arange(rows), labels], probs.max(axis=1), atol=1e-6)
    # Given labels that are kept have the confidence that reviewed rows give them.
    kept = found.source == "given" and int(found.chosen["reviewed_rounds"]) > 0
    expected = np.asarray(found.label_quality) if kept else probs.max(axis=1)
    np.testing.assert_allclose(confidence, expected, atol=1e-6)
    given_labels = arguments["labels"]
    if given_labels.ndim == 1:
        np.testing.assert_array_equal(found.changed, labels != given_labels)
    quality = np.asarray(found.label_quality)
    assert quality.shape == (rows,)
    assert np.isfinite(quality).all()
    assert (quality >= 0).all()
    assert (quality <= 1 + 1e-6).all()
    assert_distributions(found.transition, classes, classes)
    assert_distributions(predict(found.classifier, arguments["features"]), rows, classes)
    assert_distributions(
        predict(found.classifier, arguments["val_features"]), len(arguments["val_features"]), classes
    )


def break_it(arguments, fault, rng):
    """The arguments with the fault; None where these have no place for it."""
    broken = {
        name: np.array(value) if isinstance(value, np.ndarray) else value for name, value in arguments.items()
    }
    floating = broken["features"].dtype.kind == "f"
    indices = broken["labels"].ndim == 1
    row = rng.integers(len(broken["features"]))
    if fault in ("NaN in features", "infinity in features") and floating:
        broken["features"][row, rng.integers(broken["features"].shape[1])] = (
            np.nan if fault.startswith("NaN") else -np.inf
        )
    elif fault == "NaN in val features" and floating:
        broken["val_features"][rng.integers(len(broken["val_features"])), 0] = np.nan
    elif fault == "a label too large" and indices:
        broken["labels"][row] = broken["num_classes"]
    elif fault == "a negative label" and indices:
        broken["labels"][row] = -1
    elif fault == "labels of floats" and indices:
        broken["labels"] = broken["labels"].astype(float)
    elif fault == "a clean class missing":
        broken["val_labels"][broken["val_labels"] == 0] = 1
    elif fault == "too few labels" and len(broken["labels"]) > 1:
        broken["labels"] = broken["labels"][:-1]
    elif fault == "another width":
        broken["val_features"] = np.concatenate([broken["val_features"]] * 2, axis=1)
    elif fault == "a distribution of 2" and not indices:
        broken["labels"][row] *= 2
    elif fault == "a weight of NaN":
        broken["sample_weight"] = np.where(np.arange(len(broken["features"])) == row, np.nan, 1.0)
    else:
        return None
    return broken


QUIET = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}


PLAIN = {"kinds": (np.float32,), "labels": LABELS[:4], "optional": False}


@settings(max_examples=16, **QUIET)
@given(arguments=problems(SHAPES[:1], **PLAIN))
def test_any_features_give_distributions(arguments):
    check_result(arguments)


@pytest.mark.slow
@settings(max_examples=300, **QUIET)
@given(arguments=problems(MORE_SHAPES, **PLAIN))
def test_any_features_of_any_shape_give_distributions(arguments):
    check_result(arguments)


@pytest.mark.slow
@settings(max_examples=40, **QUIET)
@given(arguments=problems(MORE_SHAPES))
def test_any_type_and_optional_argument_gives_distributions(arguments):
    check_result(arguments)


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=20, **QUIET)
@given(arguments=problems(SHAPES), seed=st.integers(0, 1000))
def test_wrong_arguments_are_named(fault, arguments, seed):
    """Nothing is compiled for them: the checks come first."""
    broken = break_it(arguments, fault, np.random.default_rng(seed))
    assume(broken is not None)
    with pytest.raises(InputError) as caught:
        call(broken)
    assert str(caught.value).startswith(FAULTS[fault])
