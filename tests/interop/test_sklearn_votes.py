import numpy as np
import pytest

from dmlp_jax import InputError, LabelPurifier
from dmlp_jax.interop.sklearn_votes import are_votes, encode_known_votes, encode_votes
from tests.conftest import accuracy
from tests.purifier.annotators.crowds import crowd, majority

NAMES = np.array(["cat", "dog", "owl"], object)


def test_votes_by_name_are_encoded():
    y = [["dog", None], ["cat", "owl"], ["", "dog"]]
    classes, votes, clean = encode_votes("y", y, np.array(["owl", "cat"]))
    assert list(classes) == ["cat", "dog", "owl"]
    np.testing.assert_array_equal(votes, [[1, -1], [0, 2], [-1, 1]])
    np.testing.assert_array_equal(clean, [2, 0])
    numbers = encode_votes("y", np.array([[2.0, np.nan], [-1, 5]]), None)[1]
    np.testing.assert_array_equal(numbers, [[0, -1], [-1, 1]])
    with pytest.raises(InputError, match=r"val_given\[0, 1\] is 'bat'"):
        encode_known_votes("val_given", [["cat", "bat"]], classes, 1)
    with pytest.raises(InputError, match="same annotators"):
        encode_known_votes("val_given", ["cat"], classes, 1)
    with pytest.raises(InputError, match="holds no label"):
        encode_votes("y", [[None, None]], None)


def test_what_votes_are():
    for several in (np.zeros((3, 2)), [["a", "b"], ["a", None]]):
        assert are_votes(several)
    for single in (np.zeros(3), np.zeros((3, 1)), ["a", "b"], [("a", 1), ("b", 2)]):
        assert not are_votes(single)


def test_the_estimator_takes_votes():
    features, votes, _, _, true = crowd(0)
    named = np.where(votes >= 0, NAMES[votes], None)
    fitted = LabelPurifier(random_state=0).fit(features, named)
    assert accuracy(fitted.labels_, NAMES[true]) > accuracy(majority(votes), true) + 0.05
    assert fitted.annotator_quality_.shape == (votes.shape[1],)
    np.testing.assert_array_equal(fitted.changed_, fitted.labels_ != NAMES[majority(votes)])
    assert accuracy(fitted.predict(features), NAMES[true]) > 0.85
    with pytest.raises(InputError, match="y has 3 rows"):
        LabelPurifier().fit(features, named[:3])


def test_clean_rows_beside_votes_are_checked_like_those_of_single_labels():
    features, votes, _, _, true = crowd(0)
    names = np.array(["cat", "Cat", "owl"], object)
    named = np.where(votes >= 0, names[votes], None)
    purifier = LabelPurifier(random_state=0)
    with pytest.raises(InputError, match=r"y_val has shape \(3,\) but X_val has 50 rows"):
        purifier.fit(features, named, X_val=features[:50], y_val=names[true[:3]])
    with pytest.raises(InputError, match="must come from the same encoder"):
        purifier.fit(features, named, X_val=features[:50, 1:], y_val=names[true[:50]])
    with pytest.warns(UserWarning, match="'Cat'"):
        purifier.fit(features, named, X_val=features[:50], y_val=names[true[:50]])
    assert purifier.annotator_quality_ is not None
    with pytest.warns(UserWarning, match="Cat"):
        purifier.fit(features, names[majority(votes)], X_val=features[:50], y_val=names[true[:50]])
    assert purifier.annotator_quality_ is None
