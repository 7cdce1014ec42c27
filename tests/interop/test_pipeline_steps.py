import numpy as np
import pytest
import sklearn
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

from dmlp_jax import LabelPurifier
from dmlp_jax.interop.pipeline_steps import untransformed
from tests.conftest import SHORT, make_blobs

FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), _ = make_blobs(0)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), Normalizer()], ids=str)
def test_rows_that_went_through_a_scaler_are_told_from_those_that_did_not(scaler):
    """At 2.5 times the scale: far less than what `purify` itself can take for another scale."""
    rows, clean = 2.5 * FEATURES + 4, 2.5 * VAL_FEATURES + 4
    scaled = scaler.fit_transform(rows)
    said = untransformed(scaled, clean)
    assert type(scaler).__name__ in said
    assert "transform_input=['X_val']" in said
    assert untransformed(scaled, scaler.transform(clean)) is None
    assert untransformed(rows, clean) is None
    # Class shares of their own are no other scale.
    one_class = clean[VAL_LABELS == 1]
    assert untransformed(scaled, scaler.transform(one_class)) is None


def test_constant_columns_are_no_sign_of_anything():
    assert untransformed(np.zeros((5, 2)), np.ones((3, 2))) is None


def test_a_pipeline_transforms_the_clean_rows_where_it_is_asked_to():
    rows, clean = 2.5 * FEATURES + 4, 2.5 * VAL_FEATURES + 4
    purifier = LabelPurifier(random_state=0, steps=SHORT.steps)
    scaler = StandardScaler().fit(rows)
    known = {"y_val": VAL_LABELS, "val_given": VAL_LABELS}
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(StandardScaler(), purifier, transform_input=["X_val"])
        routed.fit(rows, GIVEN, X_val=clean, **known)
    by_hand = LabelPurifier(random_state=0, steps=SHORT.steps)
    by_hand.fit(scaler.transform(rows), GIVEN, X_val=scaler.transform(clean), **known)
    np.testing.assert_array_equal(routed[-1].labels_, by_hand.labels_)
    assert not [text for text in routed[-1].warnings_ if "X_val" in text]
    with pytest.warns(UserWarning, match=r"StandardScaler.*transform_input=\['X_val'\]"):
        make_pipeline(StandardScaler(), LabelPurifier(random_state=0, steps=SHORT.steps)).fit(
            rows, GIVEN, labelpurifier__X_val=clean, labelpurifier__y_val=VAL_LABELS
        )


def test_clean_rows_of_more_features_name_the_step_that_they_missed():
    pipeline = make_pipeline(PCA(2), LabelPurifier(random_state=0))
    with pytest.raises(ValueError, match=r"X_val has \d+ features but X has 2 features.*transform_input"):
        pipeline.fit(FEATURES, GIVEN, labelpurifier__X_val=VAL_FEATURES, labelpurifier__y_val=VAL_LABELS)
