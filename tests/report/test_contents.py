"""The arrays of purified.npz and purifier.npz, and the version of their format."""

import numpy as np
import pytest

from dmlp_jax import purify
from dmlp_jax.errors import UserError
from dmlp_jax.report import contents
from dmlp_jax.storage import files
from tests.conftest import SHORT, make_blobs


def test_files_hold_what_purify_returned_and_their_version(tmp_path):
    features, given, val, _ = make_blobs(0)
    result = purify(features, given, val, config=SHORT)
    for name, arrays in (
        ("purified.npz", contents.purified_arrays(result)),
        ("purifier.npz", contents.purifier_arrays(result)),
    ):
        files.save_npz(tmp_path / name, arrays)
        found = contents.load(tmp_path / name)
        assert found.keys() == arrays.keys()
        assert found["format_version"] == contents.FORMAT_VERSION
    np.testing.assert_array_equal(found["scores/purified/accuracy"], result.scores["purified"]["accuracy"])
    np.testing.assert_array_equal(found["classifier/kernel"], result.classifier.kernel)


def test_files_of_before_versions_are_read(tmp_path):
    files.save_npz(tmp_path / "purified.npz", {"labels": np.arange(3)})
    np.testing.assert_array_equal(
        contents.load(tmp_path / "purified.npz", ("labels",))["labels"], np.arange(3)
    )


def test_label_quality_of_before_versions_is_a_probability():
    probs = np.array([[0.9, 0.1], [0.3, 0.7]])
    found = contents.label_quality({"probs": probs}, np.array([1, 1]))
    np.testing.assert_array_equal(found, [0.1, 0.7])
    kept = {"probs": probs, "label_quality": np.array([0.2, 0.4])}
    np.testing.assert_array_equal(contents.label_quality(kept, np.array([1, 1])), [0.2, 0.4])


def test_files_of_a_later_version_are_refused_with_the_remedy(tmp_path):
    later = {"labels": np.arange(3), "format_version": np.asarray(contents.FORMAT_VERSION + 1)}
    files.save_npz(tmp_path / "purified.npz", later)
    with pytest.raises(UserError, match=r"purified\.npz has format version 2.*install the version"):
        contents.load(tmp_path / "purified.npz")
