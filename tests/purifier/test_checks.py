import dataclasses
import pickle

import jax
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from dmlp_jax import InputError, PurifyConfig, purify
from dmlp_jax.purifier import arguments
from tests.conftest import FIXED, make_blobs


def broken(**changes):
    features, given, (val_features, val_labels), _ = make_blobs(0)
    arguments = {
        "features": features,
        "labels": given,
        "val_features": val_features,
        "val_labels": val_labels,
        **changes,
    }
    val = (arguments.pop("val_features"), arguments.pop("val_labels"))
    return purify(arguments.pop("features"), arguments.pop("labels"), val, **arguments)


def with_value(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), _ = make_blobs(0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": with_value(FEATURES, (7, 2), np.nan)}, ["features[7, 2]", "nan", "1 of 300"]),
        ({"features": with_value(FEATURES, (0, 0), -np.inf)}, ["features[0, 0]", "-inf"]),
        ({"features": FEATURES[:, 0]}, ["features", "matrix", "(300,)"]),
        ({"features": FEATURES[:0], "labels": GIVEN[:0]}, ["features", "(0, 16)"]),
        ({"features": 1j * FEATURES}, ["features", "numbers", "complex"]),
        ({"features": FEATURES > 0}, ["features", "real numbers", "bool"]),
        ({"features": [["a", "b"]] * 300}, ["features", "numbers"]),
        ({"features": csr_matrix(FEATURES)}, ["features", "csr_matrix", ".toarray()"]),
        ({"val_features": VAL_FEATURES[:, :5]}, ["val features", "5 columns", "16", "same encoder"]),
        ({"val_features": with_value(VAL_FEATURES, (3, 1), np.inf)}, ["val features[3, 1]"]),
        ({"labels": GIVEN[:-1]}, ["labels", "299", "300", "one for each row"]),
        ({"labels": with_value(GIVEN, 4, -1)}, ["labels[4]", "-1"]),
        ({"labels": with_value(GIVEN, 9, 7), "num_classes": 3}, ["labels[9]", "7", "0 to 2"]),
        ({"labels": GIVEN.astype(float)}, ["labels", "integer", "float64;", "by .astype(int)"]),
        ({"labels": GIVEN > 0, "val_labels": VAL_LABELS > 0}, ["bool", "truth values by .astype(int)"]),
        ({"labels": 2 * (GIVEN > 0) - 1}, ["labels[", "-1 and 1", "(labels + 1) // 2"]),
        ({"labels": np.eye(3, dtype=int)[GIVEN]}, ["labels", "int64", ".argmax(axis=1)"]),
        ({"labels": GIVEN + 1, "val_labels": VAL_LABELS + 1}, ["val labels", "class 0", "subtract 1"]),
        (
            {"labels": with_value(GIVEN.astype(float), 6, np.nan)},
            ["labels[6] is nan", "label these"],
        ),
        ({"labels": with_value(GIVEN.astype(float), 6, 0.5)}, ["labels[6] is 0.5", "0, 1, 2", "regression"]),
        ({"labels": GIVEN.astype(str)}, ["labels", "numpy.unique"]),
        ({"labels": np.full((300, 3), 0.5)}, ["labels[0]", "sum to 1"]),
        ({"labels": np.full((300, 3), np.nan)}, ["labels[0]", "distribution"]),
        ({"labels": np.full((300, 4), 0.25), "num_classes": 3}, ["4 columns", "num_classes is 3"]),
        ({"val_labels": VAL_LABELS[:-2]}, ["val labels", "28", "30"]),
        ({"val_labels": np.where(VAL_LABELS == 2, 0, VAL_LABELS)}, ["val labels", "class 2", "1 of 3"]),
        ({"val_labels": np.full((30, 3), 1 / 3)}, ["val labels", "certain"]),
        ({"labels": with_value(GIVEN, 0, 5)}, ["val labels", "class 3, 4, 5"]),
        ({"num_classes": 1}, ["num_classes is 1", "two classes"]),
        ({"num_classes": "3"}, ["num_classes", "integer"]),
        ({"val_given_labels": VAL_LABELS[:3]}, ["val_given_labels", "3", "30"]),
        (
            {"val_given_labels": with_value(VAL_LABELS, 4, -2)},
            ["val_given_labels[4] is -2", "0 to 2", "write -1"],
        ),
        ({"val_given_labels": with_value(VAL_LABELS, 4, 3)}, ["val_given_labels[4] is 3", "write -1"]),
        (
            {"val_given_labels": with_value(VAL_LABELS.astype(float), 6, np.nan)},
            ["val_given_labels[6] is nan", "write -1"],
        ),
        ({"val_random": np.ones(3, bool)}, ["val_random", "(3,)", "30 clean rows", "True or False"]),
        ({"val_random": True}, ["val_random", "()", "one True or False for each"]),
        ({"val_random": np.ones(30)}, ["val_random", "float64", "drawn at random"]),
        ({"val_random": ["random"] * 30}, ["val_random", "True or False", "picked"]),
        ({"val_random": with_value(np.ones(30, int), 5, 2)}, ["val_random[5] is 2", "True (or 1)"]),
        ({"sample_weight": -np.ones(300)}, ["sample_weight[0]", "-1"]),
        ({"sample_weight": np.zeros(300)}, ["sample_weight", "zero"]),
        ({"sample_weight": np.ones(5)}, ["sample_weight", "5", "300"]),
        ({"sample_weight": np.full(300, 1e300)}, ["sample_weight", "3e+302", "mean of 1"]),
        ({"sample_weight": np.full(300, 3e38, np.float32)}, ["sample_weight", "mean of 1"]),
        ({"sample_weight": np.full(300, 1e-40)}, ["sample_weight", "mean of 1"]),
        # 2 ** 32 is 0 in 32 bits, and no place for as many counters.
        (
            {"labels": with_value(GIVEN.astype(np.int64), 0, 2**32)},
            ["val labels", "class 3, 4,", "4294967294 of"],
        ),
        ({"labels": with_value(GIVEN.astype(np.uint64), 0, 2**63)}, ["val labels", "class 3, 4,"]),
        ({"labels": with_value(GIVEN, 0, 2**31 - 1)}, ["val labels", "2147483645 of 2147483648"]),
        ({"config": {"steps": 3}}, ["config", "PurifyConfig", "dict"]),
        ({"config": "paper"}, ["config", "PurifyConfig.paper()", "str"]),
        ({"config": PurifyConfig(steps=0)}, ["config.steps", "at least 1"]),
        ({"config": PurifyConfig(num_folds=1)}, ["config.num_folds", "at least 2"]),
        ({"config": PurifyConfig(weight_decay=())}, ["weight_decay", "tuple"]),
        ({"config": PurifyConfig(race_steps=0)}, ["config.race_steps", "at least 1"]),
        ({"config": PurifyConfig(weight_decay=0.1)}, ["weight_decay", "tuple"]),
        ({"config": PurifyConfig(weight_decay=(0.0,))}, ["weight_decay", "positive"]),
        ({"config": PurifyConfig(ridge_penalty=-1.0)}, ["ridge_penalty", "positive"]),
        ({"config": PurifyConfig(steps="60")}, ["config.steps is '60'", "whole number"]),
        ({"config": PurifyConfig(refits=-1)}, ["config.refits is -1", "at least 0"]),
        ({"config": PurifyConfig(val_weight=-0.5)}, ["config.val_weight is -0.5", "negative"]),
        ({"config": PurifyConfig.paper(eac_momentum=1.5)}, ["config.eac_momentum is 1.5", "at most 1"]),
        ({"key": 0}, ["key", "int", "jax.random.key(seed)"]),
        ({"key": jax.random.split(jax.random.key(0), 3)}, ["key", "(3,)", "jax.vmap"]),
        ({"labels": GIVEN[:, None]}, ["labels", "(300, 1)"]),
        ({"config": PurifyConfig.paper(label_optimizer="rmsprop")}, ["label_optimizer", "'sgd', 'adam'"]),
    ],
)
def test_message_says_which_what_where(changes, words):
    with pytest.raises(InputError) as caught:
        broken(**changes)
    for word in words:
        assert word in str(caught.value)


def checked(**known):
    """What the program gets of these arguments about the clean rows."""
    arguments_ = {"val_given_labels": None, "val_random": None, **known}
    return arguments.check(
        FEATURES,
        GIVEN,
        (VAL_FEATURES, VAL_LABELS),
        None,
        sample_weight=None,
        config=FIXED,
        key=jax.random.key(0),
        **arguments_,
    )[1]


def test_single_given_labels_of_clean_rows_may_be_unknown():
    some = with_value(VAL_LABELS, [2, 7], -1)
    np.testing.assert_array_equal(checked(val_given_labels=some).val_given_labels, some)
    assert checked(val_given_labels=np.full(30, -1)).val_given_labels is None
    assert checked(val_given_labels=jax.numpy.full(30, -1)).val_given_labels is None


@pytest.mark.parametrize("kind", [list, np.array, jax.numpy.array])
@pytest.mark.parametrize("dtype", [bool, int])
def test_rows_drawn_at_random_are_booleans(kind, dtype):
    drawn = np.arange(30) % 3 > 0
    found = checked(val_random=kind(drawn.astype(dtype))).val_random
    assert found.dtype == bool
    np.testing.assert_array_equal(found, drawn)
    # All of them is what None stands for.
    assert checked(val_random=kind(np.ones(30, dtype))).val_random is None
    assert checked().val_random is None


def test_values_that_are_not_known_yet_stay_arrays():
    def inputs(flags, labels):
        found = checked(val_random=flags, val_given_labels=labels)
        return found.val_random, found.val_given_labels

    found = jax.jit(inputs)(np.ones(30, int), np.full(30, -1))
    assert found[0].dtype == bool
    assert found[1].shape == (30,)


def test_val_must_be_a_pair():
    with pytest.raises(InputError, match="pair"):
        purify(FEATURES, GIVEN, VAL_FEATURES)


def test_untyped_key_is_as_good_as_a_typed_one():
    typed, untyped = (broken(key=key, config=FIXED) for key in (jax.random.key(7), jax.random.PRNGKey(7)))
    np.testing.assert_array_equal(typed.probs, untyped.probs)


def test_number_of_classes_is_asked_for_under_jit():
    with pytest.raises(InputError, match="num_classes must be given"):
        jax.jit(lambda labels: purify(FEATURES, labels, (VAL_FEATURES, VAL_LABELS)))(GIVEN)


def test_shapes_are_checked_under_jit():
    with pytest.raises(InputError, match="299"):
        jax.jit(lambda g: purify(FEATURES, g, (VAL_FEATURES, VAL_LABELS), num_classes=3))(GIVEN[:-1])


@pytest.mark.parametrize(
    ("make", "field", "words"),
    [
        (PurifyConfig, "preset", ["'preset'", "PurifyConfig.paper()"]),
        (PurifyConfig, "eac", ["'eac'", "PurifyConfig.paper(eac=...)"]),
        (PurifyConfig, "step", ["'step'", "its fields are steps, "]),
        (PurifyConfig.paper, "race_steps", ["'race_steps'", "its fields are steps, "]),
        (PurifyConfig.paper, "preset", ["'preset'", "PurifyConfig() is the default"]),
    ],
)
def test_a_field_that_a_preset_does_not_read_is_named(make, field, words):
    with pytest.raises(InputError) as caught:
        make(**{field: 1})
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(InputError):
        dataclasses.replace(make(), **{field: 1})


def test_configurations_survive_pickles_and_those_of_before_are_read():
    for config in (PurifyConfig(steps=3), PurifyConfig.paper(eac=False)):
        assert pickle.loads(pickle.dumps(config)) == config
    old = PurifyConfig.__new__(PurifyConfig)
    old.__setstate__({"preset": "default", "steps": 7, "eac": True})
    assert old == PurifyConfig(steps=7)
    with pytest.raises(InputError, match="make it anew"):
        old.__setstate__({"preset": "paper", "steps": 7})
