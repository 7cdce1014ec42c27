import pickle
import warnings

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

import dmlp_jax
from dmlp_jax import InputError, LabelPurifier
from dmlp_jax.data.row_subset import RowSubset
from dmlp_jax.interop import sklearn
from dmlp_jax.interop.sklearn_labels import label_array
from tests.conftest import SHORT, accuracy, make_blobs

FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), TRUE = make_blobs(0)


def fit(given=GIVEN, val_labels=VAL_LABELS, features=FEATURES, **options):
    purifier = LabelPurifier(random_state=0, steps=SHORT.steps)
    return purifier.fit(features, given, X_val=VAL_FEATURES, y_val=val_labels, **options)


@pytest.fixture(scope="module")
def fitted():
    return fit()


def test_a_pipeline_that_scales_only_the_training_rows_is_told():
    purifier = LabelPurifier(random_state=0, steps=SHORT.steps)
    with pytest.warns(UserWarning, match="X_val.*another scale"):
        make_pipeline(StandardScaler(), purifier).fit(
            100 * FEATURES, GIVEN, labelpurifier__X_val=100 * VAL_FEATURES, labelpurifier__y_val=VAL_LABELS
        )


def test_an_absurd_value_spoils_no_prediction():
    spoilt = FEATURES.copy()
    spoilt[7, 3] = np.finfo(np.float32).max
    with pytest.warns(UserWarning, match="1 training row"):
        purifier = fit(features=spoilt)
    assert accuracy(purifier.predict(spoilt), TRUE) > 0.9
    del purifier.bound_
    assert np.all(np.isfinite(purifier.predict_proba(FEATURES)))


def test_labels_are_repaired_and_new_rows_classified(fitted):
    assert accuracy(fitted.labels_, TRUE) > accuracy(GIVEN, TRUE) + 0.2
    fresh, _, _, true = make_blobs(0, rows=300, val_rows=30)
    assert fitted.score(fresh, true) > 0.9
    assert fitted.score(fresh, true, sample_weight=(true == 0).astype(float)) == pytest.approx(
        accuracy(fitted.predict(fresh)[true == 0], 0)
    )


def test_attributes_agree_with_purify_and_with_each_other(fitted):
    key = jax.random.key(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    result = dmlp_jax.purify(FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), config=SHORT, key=key)
    np.testing.assert_array_equal(fitted.labels_, result.labels)
    np.testing.assert_array_equal(fitted.label_distributions_, result.probs)
    np.testing.assert_array_equal(fitted.confidence_, result.confidence)
    np.testing.assert_array_equal(fitted.changed_, result.changed)
    np.testing.assert_array_equal(fitted.transition_matrix_, result.transition)
    np.testing.assert_array_equal(fitted.label_quality_, result.label_quality)
    assert fitted.warnings_ == result.warnings
    np.testing.assert_allclose(
        fitted.predict_proba(VAL_FEATURES), dmlp_jax.predict(result.classifier, VAL_FEATURES), atol=1e-5
    )
    assert fitted.scores_["purified"]["accuracy"] == float(result.scores["purified"]["accuracy"])
    assert fitted.label_source_ == result.source == "purified"
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_features_in_ == 16
    assert fitted.val_index_.size == 0


@pytest.mark.parametrize(
    "names",
    [
        ["ant", "bee", "cat"],
        [-1, 2, 7],
        [("a", 1), ("a", 2), ("b", 0)],
        [frozenset({1}), 3, "cat"],
        [b"a", b"b", b"c"],
    ],
    ids=str,
)
def test_labels_of_any_kind(fitted, names):
    other = fit([names[label] for label in GIVEN], [names[label] for label in VAL_LABELS])
    assert list(other.classes_) == names
    assert list(other.labels_) == [names[label] for label in fitted.labels_]
    np.testing.assert_array_equal(other.label_distributions_, fitted.label_distributions_)
    assert other.score(VAL_FEATURES, [names[label] for label in VAL_LABELS]) > 0.9


@pytest.fixture
def heard(monkeypatch):
    """What `purify` is given; fits end there."""
    found = {}

    def purify(*_, **known):
        found.update(known)
        raise InputError("heard")

    monkeypatch.setattr(sklearn, "purify", purify)
    return found


@pytest.mark.parametrize("unknown", [None, np.nan, "", -1], ids=str)
@pytest.mark.parametrize("names", [["ant", "bee", "cat"], [0, 2, 7], [("a", 1), ("a", 2), ("b", 0)]], ids=str)
def test_labels_of_clean_rows_before_review_are_handed_on(heard, names, unknown):
    codes = np.where(np.arange(30) % 4 == 0, -1, (VAL_LABELS + 1) % 3)
    val_given = [unknown if code < 0 else names[code] for code in codes]
    drawn = np.arange(30) % 2 == 0
    known = {"val_given": val_given, "val_random": drawn}
    with pytest.raises(InputError, match="heard"):
        fit([names[label] for label in GIVEN], [names[label] for label in VAL_LABELS], **known)
    np.testing.assert_array_equal(heard["val_given_labels"], codes)
    np.testing.assert_array_equal(heard["val_random"], drawn)


def test_minus_one_before_review_is_a_class_where_there_is_one(heard):
    names = np.array([-1, 1, 2])
    with pytest.raises(InputError, match="heard"):
        fit(names[GIVEN], names[VAL_LABELS], val_given=names[VAL_LABELS])
    np.testing.assert_array_equal(heard["val_given_labels"], VAL_LABELS)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"val_given": VAL_LABELS[:4]}, "val_given has 4 labels but there are 30 clean rows"),
        ({"val_given": VAL_LABELS[:, None] * [1, 1]}, r"val_given must be one label per row.*\(30, 2\)"),
        ({"val_given": VAL_LABELS + 1}, r"val_given\[2\] is .*3.*, which is no label of y or y_val.*None"),
        ({"val_random": np.ones(4, bool)}, "val_random has shape .* 30 clean rows"),
    ],
)
def test_mistakes_about_clean_rows_are_named(known, words):
    with pytest.raises(InputError, match=words):
        fit(**known)


def test_the_share_to_set_aside_is_handed_on(heard):
    with pytest.raises(InputError, match="heard"):
        fit(val_given=VAL_LABELS, calibration=0.25)
    assert heard["calibration"] == 0.25


@pytest.mark.slow
def test_labels_are_accepted_as_by_the_function():
    purifier = fit(val_given=(VAL_LABELS + (np.arange(30) % 4 == 0)) % 3, calibration=np.arange(30) < 15)
    purifier = pickle.loads(pickle.dumps(purifier))
    key = jax.random.key(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    result = dmlp_jax.purify(
        FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), config=SHORT, key=key,
        val_given_labels=(VAL_LABELS + (np.arange(30) % 4 == 0)) % 3, calibration=np.arange(30) < 15,
    )  # fmt: skip
    found, expected = purifier.accept(0.3), dmlp_jax.accept(result, 0.3)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.p_value, expected.p_value)
    assert np.any(found.rows)
    without = fit()
    assert not np.any(without.accept(0.3).rows)
    assert without.calibration_ is None


@pytest.mark.parametrize("name", ["val_given", "val_random", "calibration"])
def test_what_is_about_clean_rows_needs_them(name):
    with pytest.raises(InputError, match=f"{name} is about the clean rows; .*X_val"):
        LabelPurifier().fit(FEATURES, GIVEN, **{name: np.ones(30, int)})


@pytest.mark.slow
def test_without_a_clean_set_a_share_of_every_class_is_held_out():
    purifier = LabelPurifier(random_state=0)
    given = make_blobs(0, noise=0.2)[1]
    with pytest.warns(UserWarning, match=r"no clean set: \d+ of 300 rows are held out"):
        purifier.fit(FEATURES, given)
    held_out = purifier.val_index_
    counts = np.bincount(given[held_out], minlength=3)
    np.testing.assert_allclose(counts, 0.2 * np.bincount(given), atol=0.5)
    np.testing.assert_array_equal(purifier.labels_[held_out], given[held_out])
    assert np.all(purifier.confidence_[held_out] == 1)
    rest = np.setdiff1d(np.arange(300), held_out)
    assert accuracy(purifier.labels_[rest], TRUE[rest]) > accuracy(given[rest], TRUE[rest]) + 0.03
    with pytest.warns(UserWarning, match="no clean set"):
        again = clone(purifier).fit(FEATURES, given)
    np.testing.assert_array_equal(again.label_distributions_, purifier.label_distributions_)


@pytest.mark.filterwarnings("ignore:no clean set")
def test_without_a_clean_set_half_of_the_labels_wrong():
    purifier = LabelPurifier(random_state=0).fit(FEATURES, GIVEN)
    assert accuracy(purifier.labels_, TRUE) > accuracy(GIVEN, TRUE) + 0.2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:no clean set")
def test_without_a_clean_set_rows_on_disk_and_weights(tmp_path):
    purifier = LabelPurifier(random_state=0).fit(FEATURES, GIVEN)
    np.save(tmp_path / "f.npy", FEATURES)
    mapped = LabelPurifier(random_state=0).fit(np.load(tmp_path / "f.npy", mmap_mode="r"), GIVEN)
    np.testing.assert_array_equal(mapped.val_index_, purifier.val_index_)
    assert np.mean(mapped.labels_ == purifier.labels_) > 0.99
    weight = (np.arange(300) % 3 > 0).astype(float)
    weighted = LabelPurifier(random_state=0).fit(FEATURES, GIVEN, sample_weight=weight)
    assert np.all(weight[weighted.val_index_] > 0)
    assert accuracy(weighted.labels_, TRUE) > accuracy(GIVEN, TRUE) + 0.2


def test_at_the_end_of_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), LabelPurifier(random_state=0))
    with pytest.warns(UserWarning, match="no clean set"):
        pipeline.fit(FEATURES, make_blobs(0, noise=0.2)[1])
    assert pipeline.score(FEATURES, TRUE) > 0.9
    # Rows that `fit` drew itself have no labels before review that could be given.
    assert not any("before review" in text for text in pipeline[-1].warnings_)


def test_state_is_plain_and_survives_pickling(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(FEATURES), fitted.predict_proba(FEATURES))
    np.testing.assert_array_equal(again.labels_, fitted.labels_)
    leaves = jax.tree.leaves(vars(fitted))
    assert len(leaves) > 20
    assert all(isinstance(leaf, (np.ndarray, np.generic, int, float, str)) for leaf in leaves)


def test_parameters_are_those_of_scikit_learn(fitted):
    assert LabelPurifier().get_params() == {
        "preset": "default",
        "steps": None,
        "val_size": 0.2,
        "random_state": None,
    }
    assert fitted.get_params() == LabelPurifier(steps=SHORT.steps, random_state=0).get_params()
    copy = clone(fitted).set_params(steps=5, preset="paper")
    assert copy.steps == 5
    assert not hasattr(copy, "labels_")
    with pytest.raises(NotFittedError):
        copy.predict(FEATURES)


def test_names_of_the_features_are_kept():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(FEATURES, columns=[f"f{i}" for i in range(16)])
    labels = pandas.Series(np.array(["ant", "bee", "cat"])[GIVEN], dtype="category")
    purifier = LabelPurifier(random_state=0, steps=SHORT.steps)
    val = pandas.DataFrame(VAL_FEATURES, columns=frame.columns)
    purifier.fit(frame, labels, X_val=val, y_val=np.array(["ant", "bee", "cat"])[VAL_LABELS])
    assert purifier.feature_names_in_.tolist() == frame.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        purifier.predict(frame.rename(columns={"f0": "g0"}))


def missing(value):
    labels = np.array(["ant", "bee", "cat"], object)[GIVEN]
    labels[5] = value
    return labels


NAMED_VAL = np.array(["ant", "bee", "cat"])[VAL_LABELS]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"given": missing(None), "val_labels": NAMED_VAL}, [r"y[5]", "missing"]),
        ({"given": missing(float("nan")), "val_labels": NAMED_VAL}, [r"y[5]", "missing"]),
        ({"given": missing(""), "val_labels": NAMED_VAL}, [r"y[5]", "missing"]),
        ({"given": np.where(np.arange(300) == 5, np.nan, GIVEN)}, ["y[5]", "missing"]),
        ({"given": GIVEN + 0.25}, ["Unknown label type", "y[0]", "regression"]),
        ({"given": GIVEN[:-1]}, ["300", "299"]),
        ({"given": np.zeros(300, int), "val_labels": np.zeros(30, int)}, ["one class", "two classes"]),
        ({"val_labels": VAL_LABELS[:-1]}, ["y_val", "(29,)", "30 rows"]),
        ({"val_labels": np.where(VAL_LABELS == 2, 0, VAL_LABELS)}, ["y_val", "class", "2", "1 of 3"]),
        ({"features": FEATURES[:, :7]}, ["7 features", "16"]),
        ({"features": np.where(np.eye(300, 16) == 1, np.inf, FEATURES)}, ["X[0, 0] is inf", "16 of 300"]),
        ({"sample_weight": -np.ones(300)}, ["sample_weight[0]", "-1"]),
        ({"sample_weight": np.ones(3)}, ["sample_weight", "(3,)"]),
    ],
)
def test_message_says_which_what_where(arguments, words):
    with pytest.raises(ValueError, match=r"\w") as caught:
        fit(**arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"preset": "best"}, "'default'|default, paper"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"val_size": 1.0}, "val_size is 1.0"),
        ({"val_size": "a"}, "val_size is 'a'"),
    ],
)
def test_parameters_that_cannot_be(parameters, words):
    with pytest.raises(InputError, match=words):
        LabelPurifier(**parameters).fit(FEATURES, GIVEN)


def test_the_clean_set_comes_whole():
    with pytest.raises(InputError, match="together"):
        LabelPurifier().fit(FEATURES, GIVEN, X_val=VAL_FEATURES)


def test_classes_of_one_row_leave_nothing_to_purify():
    with pytest.raises(InputError, match="n_samples = 3"):
        LabelPurifier().fit(FEATURES[:3], ["a", "b", "c"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("clean", [True, False], ids=["clean set", "held out"])
@pytest.mark.filterwarnings("ignore:no clean set")
def test_memory_maps_reach_purify_as_they_are(monkeypatch, tmp_path, dtype, clean):
    class ReachedError(Exception):
        pass

    def stop(features, *_, **__):
        raise ReachedError(features)

    looked = []

    def look(estimator, X, **options):
        looked.append(len(X))
        return validate_data(estimator, X, **options)

    monkeypatch.setattr(sklearn, "purify", stop)
    monkeypatch.setattr(sklearn, "validate_data", look)
    np.save(tmp_path / "f.npy", (10 * FEATURES).astype(dtype))
    on_disk = np.load(tmp_path / "f.npy", mmap_mode="r")
    purifier = LabelPurifier(random_state=0)
    options = {"X_val": on_disk[:30], "y_val": GIVEN[:30]} if clean else {}
    with pytest.raises(ReachedError) as caught:
        purifier.fit(on_disk, GIVEN, **options)
    (features,) = caught.value.args
    assert isinstance(features, np.memmap if clean else RowSubset)
    assert features.dtype == dtype
    # scikit-learn copies what is of a type that it was not asked for.
    assert max(looked) == 2
    assert purifier.n_features_in_ == 16


def test_memory_maps_are_checked_as_arrays_are(fitted, tmp_path):
    def on_disk(values):
        np.save(tmp_path / "x.npy", values)
        return np.load(tmp_path / "x.npy", mmap_mode="r")

    np.testing.assert_allclose(
        fitted.predict_proba(on_disk(VAL_FEATURES)), fitted.predict_proba(VAL_FEATURES), rtol=1e-12
    )
    flags = VAL_FEATURES > 0
    np.testing.assert_array_equal(fitted.predict_proba(on_disk(flags)), fitted.predict_proba(flags))
    for values, words in (
        (VAL_FEATURES[:, :7], "7 features"),
        (np.where(np.eye(30, 16, -20) == 1, np.nan, VAL_FEATURES), r"X\[20, 0\] is nan"),
        (VAL_FEATURES.astype(complex), "Complex data not supported"),
        (VAL_FEATURES[0], "2D array"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted.predict(on_disk(values))
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        LabelPurifier().fit(on_disk(FEATURES[:1]), GIVEN[:1])


@pytest.mark.slow
def test_memory_maps_are_streamed(fitted, tmp_path):
    np.save(tmp_path / "f.npy", FEATURES)
    on_disk = fit(features=np.load(tmp_path / "f.npy", mmap_mode="r"))
    np.testing.assert_allclose(on_disk.label_distributions_, fitted.label_distributions_, atol=1e-3)


@pytest.mark.slow
def test_rows_of_weight_zero_do_not_count():
    weight = np.r_[np.ones(250), np.zeros(50)]
    other = np.r_[GIVEN[:250], (GIVEN[250:] + 1) % 3]
    found, reference = (fit(given, sample_weight=weight) for given in (other, GIVEN))
    assert np.any(found.label_distributions_[250:] != reference.label_distributions_[250:])
    np.testing.assert_array_equal(found.label_distributions_[:250], reference.label_distributions_[:250])


# Exceptions from scikit-learn's own checks, with the reason.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "without a clean set the rows to hold out are drawn, and a repeated row may be drawn where a row of "
        "weight 2 is not"
    ),
}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_scikit_learns_own_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(LabelPurifier(steps=3), expected_failed_checks=EXPECTED, on_fail=None)
    failed = {check["check_name"]: repr(check["exception"]) for check in found if check["status"] == "failed"}
    assert not failed
    assert {check["check_name"] for check in found if check["status"] == "xfail"} == set(EXPECTED)
    assert sum(check["status"] == "passed" for check in found) > 50


def test_labels_in_lists_of_one_and_in_lists_of_several():
    names = [["ant"], ["bee"], np.array(["ant"], object)]
    assert label_array("y", names).tolist() == ["ant", "bee", "ant"]
    with pytest.raises(ValueError, match=r"y\[1\] holds 2 labels"):
        label_array("y", [["ant"], ["ant", "bee"], ["bee"]])
    # Tuples are hashable, and so may be classes.
    assert label_array("y", [("a", 1), ("b", 2)]).tolist() == [("a", 1), ("b", 2)]
    with pytest.raises(ValueError, match=r"shape \(4, 3\); of one-hot rows take argmax"):
        label_array("y", np.eye(4, 3))
