"""Provides the purifier as a scikit-learn estimator, `LabelPurifier`."""

import warnings
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any, Self

import jax
import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from dmlp_jax.data import class_names
from dmlp_jax.interop.pipeline_steps import REMEDY, untransformed
from dmlp_jax.interop.sklearn_labels import label_array
from dmlp_jax.interop.sklearn_rows import FitRows, prepare
from dmlp_jax.purifier import Accepted, InputError, accept, purify
from dmlp_jax.purifier.base import forked
from dmlp_jax.purifier.checks import check_features
from dmlp_jax.purifier.config import PRESETS, Config
from dmlp_jax.purifier.warnings import sentences


class LabelPurifier(ClassifierMixin, BaseEstimator):
    """Repairs wrong labels, and classifies new rows with the classifier of the purified labels.

    The features must come from an encoder that was not trained on these labels; the method is
    `dmlp_jax.purify`. After `fit` the purified labels are in `labels_`. All learned attributes are NumPy
    arrays or plain numbers, so the estimator can be cloned, pickled and used in searches. Labels may be of
    any hashable type.

    In a Pipeline, earlier steps transform X but not `X_val`, unless the Pipeline is told so: with
    `sklearn.set_config(enable_metadata_routing=True)` by `Pipeline(steps, transform_input=["X_val"])`. `fit`
    warns where the clean rows have not gone through a scaler that the training rows have gone through.

    Args:
        preset: 'default', or 'paper' for the paper's own equations and constants.
        steps: rounds of the purifier; None takes the preset's number.
        val_size: without a clean set, the share of the rows of every class that `fit` holds out and uses as
            clean rows, in (0, 1).
        random_state: seed, `RandomState` or None (another draw in each `fit`), for the folds of the clean set
            and for which rows are held out.

    Attributes:
        classes_: the labels that occur, sorted, [c].
        labels_: purified labels of the rows of `fit` [n].
        label_distributions_: purified distributions over `classes_` [n, c], float32.
        confidence_: probability of `labels_` [n], in [0, 1].
        label_quality_: how likely the given labels are right [n], in [0, 1], low where one is suspicious. A
            probability where `fit` got `val_given`, else a ranking; see `PurifyResult.label_quality`.
        changed_: whether the purified label differs from the given one [n], bool; with several annotators,
            from the one that most of them gave, and `label_quality_` is that of this one.
        scores_: by source of labels ('given', 'purified' and the trivial baselines) a dict of 'accuracy' and
            'cross_entropy' on held-out clean rows and more, see `PurifyResult.scores`.
        label_source_: source of `labels_`: 'purified', or the name of a trivial baseline that was clearly
            better on held-out clean rows.
        warnings_: what is wrong with the arguments of `fit`, or was not said, in sentences; `fit` warns with
            the same. See `PurifyResult.warnings`.
        transition_matrix_: estimate of p(given label | true label) [c, c], row = true class.
        calibration_: what `accept` needs, see `PurifyResult.calibration`; None without `calibration`.
        val_index_: rows of `fit` that were held out as clean; empty if a clean set was given. These rows keep
            their labels, with confidence and quality 1.
        coef_, intercept_: linear head on centred rows of length `row_length_`, [c, d] and [c].
        mean_: feature mean, [d].
        row_length_: length to which centred rows are scaled; 0 means no scaling.
        bound_: distance from the mean beyond which a value counts as missing, infinite where none was.
        annotator_quality_: estimated share of right labels of each annotator [a]; None with one label a row.
        annotator_transition_: estimate of p(label | true label) of each annotator [a, c, c]; None likewise.
        n_iter_: rounds of the purifier.
        n_features_in_: d.
        feature_names_in_: names of the features [d], if X has names.
    """

    # With scikit-learn's metadata routing, a Pipeline or a search hands these on without being asked to.
    __metadata_request__fit = dict.fromkeys(
        ("X_val", "y_val", "val_given", "val_random", "sample_weight"), True
    )

    def __init__(
        self,
        preset: str = "default",
        *,
        steps: int | None = None,
        val_size: float = 0.2,
        random_state: Any = None,
    ) -> None:
        self.preset = preset
        self.steps = steps
        self.val_size = val_size
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_val: Any = None,
        y_val: Any = None,
        val_given: Any = None,
        val_random: Any = None,
        sample_weight: Any = None,
        calibration: Any = None,
    ) -> Self:
        """Purifies labels.

        Args:
            X: features of the rows [n, d]. A NumPy memory map is read chunk by chunk.
            y: given, partly wrong labels of the rows [n]; or those of several annotators [n, a], where None,
                NaN, '' or -1 stands for no label. No clean rows are held out then: it does without.
            X_val: features of the clean rows [m, d].
            y_val: true labels of the clean rows [m], every class present. Without `X_val` and `y_val` a share
                `val_size` of every class is drawn from the rows whose labels are likely right, see
                `dmlp_jax.likely_clean`, and used as clean rows, with a warning: wrong labels among them count
                as right.
            val_given: labels that the noisy source gave to the clean rows, their labels before review [m].
                None or NaN where one is unknown, or -1 if that is no class. They show what a given label is
                worth. [m, a] with several annotators.
            val_random: whether each clean row was drawn at random [m], bool; False where it was picked,
                because it looked suspicious or for another reason. By default all were drawn at random.
            sample_weight: weight of each row [n], not negative.
            calibration: share of the clean rows to set aside for `accept`, or True or False for each [m], see
                `purify`.

        Returns:
            The estimator.

        Raises:
            InputError: (a ValueError) as in `purify`, or for an invalid parameter.
        """
        forked.refuse()
        config = self._config()
        if (X_val is None) != (y_val is None):
            raise InputError("X_val and y_val must be given together: the clean rows and their true labels")
        of_clean = {"val_given": val_given, "val_random": val_random, "calibration": calibration}
        for name, known in of_clean.items():
            if known is not None and X_val is None:
                raise InputError(
                    f"{name} is about the clean rows; give these as X_val and y_val, or leave it out"
                )
        if y is None:
            # The message of scikit-learn's own estimators.
            validate_data(self, X, y)
        features = self._features("X", X, reset=True)
        clean = None if X_val is None else self._clean_rows(X_val, y_val)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, features, dtype=np.float32)
        random = check_random_state(self.random_state)
        key = jax.random.key(random.randint(np.iinfo(np.int32).max))
        rows = prepare(features, y, clean, val_given, sample_weight, self.val_size, key)
        if rows.assumption is not None:
            warnings.warn(rows.assumption, UserWarning, stacklevel=2)
        result = purify(
            rows.features,
            rows.labels,
            rows.val,
            num_classes=len(rows.classes),
            val_given_labels=rows.val_given,
            val_random=val_random,
            sample_weight=None if sample_weight is None else sample_weight[rows.train],
            calibration=calibration,
            config=config,
            key=key,
        )
        result = jax.tree.map(np.asarray, result)
        self._store(result, rows)
        self.warnings_ = _warnings(result, rows, None if clean is None else untransformed(features, clean[0]))
        for text in self.warnings_:
            warnings.warn(text, UserWarning, stacklevel=2)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [n, c] of `classes_` for features [n, d], from the purifier's linear head."""
        check_is_fitted(self)
        X = self._features("X", X)
        # In float64, so that a row's probabilities do not depend on the other rows of the batch.
        rows = X.astype(np.float64) - self.mean_
        # Estimators of earlier versions, from a pickle, have no bound.
        rows = np.where(np.abs(rows) > getattr(self, "bound_", np.inf), 0.0, rows)
        if self.row_length_ > 0:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            rows *= self.row_length_ / np.where(length > 0, length, 1.0)
        return softmax(rows @ self.coef_.T + self.intercept_, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Most probable labels [n] for features [n, d]."""
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of `predict` on features [n, d] and labels [n], in [0, 1]."""
        predicted, y = self.predict(X), label_array("y", y)
        if len(y) != len(predicted):
            raise InputError(f"y has {len(y)} labels but X has {len(predicted)} rows")
        right = [a == b for a, b in zip(predicted, y, strict=True)]
        return float(np.average(right, weights=sample_weight))

    def accept(self, alpha: float) -> Accepted:
        """Labels of the rows of `fit` of which a share `alpha` is expected to be wrong at most.

        It takes `fit(..., val_given=, calibration=)`; see `dmlp_jax.accept`.
        """
        check_is_fitted(self)
        return accept(SimpleNamespace(confidence=self._trust, calibration=self.calibration_), alpha)

    def _features(self, name: str, X: Any, reset: bool = False) -> np.ndarray:
        """Checked features [n, d]; `reset` stores d and the columns' names. Memory maps stay on disk."""
        least = 2 if reset else 1
        # scikit-learn would copy a memory map of another type to float64, so it checks only two rows of it.
        on_disk = isinstance(X, np.memmap) and X.ndim == 2 and X.dtype.kind in "fiu"
        checked = validate_data(
            self,
            X[:2] if on_disk else X,
            reset=reset,
            dtype=(np.float64, np.float32),
            ensure_min_samples=least,
            ensure_all_finite=False,
        )
        # Unlike scikit-learn's check, this one names the entry.
        return check_features(name, X if on_disk else checked)

    def _clean_rows(self, X_val: Any, y_val: Any) -> tuple[np.ndarray, np.ndarray]:
        """Checked features [m, d] and labels [m] of the clean rows, with a hint where d is not that of X."""
        shape: tuple[int, ...] = getattr(X_val, "shape", ())
        if len(shape) == 2 and shape[1] != self.n_features_in_:
            raise InputError(
                f"X_val has {shape[1]} features but X has {self.n_features_in_} features; both must come "
                f"from the same encoder. If another step made X from more features: {REMEDY}"
            )
        features, labels = self._features("X_val", X_val), label_array("y_val", y_val)
        if labels.shape != features.shape[:1]:
            raise InputError(f"y_val has shape {labels.shape} but X_val has {len(features)} rows")
        return features, labels

    def _config(self) -> Config:
        if self.preset not in PRESETS:
            raise InputError(f"preset is {self.preset!r}; it must be one of {', '.join(PRESETS)}")
        if self.steps is not None and (not isinstance(self.steps, Integral) or self.steps < 1):
            raise InputError(f"steps is {self.steps!r}; it must be a whole number, at least 1, or None")
        if not isinstance(self.val_size, Real) or not 0 < self.val_size < 1:
            raise InputError(f"val_size is {self.val_size!r}; it must be a share between 0 and 1")
        fields = {} if self.steps is None else {"steps": int(self.steps)}
        return PRESETS[self.preset](**fields)

    def _store(self, result: Any, rows: FitRows) -> None:
        """Attributes of all rows of `fit`, from a result for the rows `rows.train`."""
        codes, train = rows.codes, rows.train
        self.classes_ = rows.classes
        count = len(codes)
        probs = np.eye(len(rows.classes), dtype=np.float32)[codes]
        probs[train] = result.probs
        labels = codes.copy()
        labels[train] = result.labels
        self.labels_ = self.classes_[labels]
        self.label_distributions_ = probs
        self.confidence_ = probs.max(axis=1)
        # That of labels which are kept is not 1, but what reviewed rows say of them.
        self._trust = np.ones(count, np.float32)
        self._trust[train] = result.confidence
        self.calibration_ = result.calibration
        self.label_quality_ = np.ones(count, np.float32)
        self.label_quality_[train] = result.label_quality
        self.changed_ = labels != codes
        self.scores_ = {
            source: {name: float(value) for name, value in scores.items()}
            for source, scores in result.scores.items()
        }
        self.label_source_ = result.source
        self.transition_matrix_ = result.transition
        self.val_index_ = rows.held_out
        self.coef_ = result.classifier.kernel.T.astype(np.float64)
        self.intercept_ = result.classifier.bias.astype(np.float64)
        self.mean_ = result.classifier.mean.astype(np.float64)
        self.row_length_ = float(result.classifier.scale)
        self.bound_ = float(result.classifier.bound)
        self.n_iter_ = len(result.history["changed"])
        self.annotator_quality_ = result.annotator_quality
        self.annotator_transition_ = result.annotator_transition


def _warnings(result: Any, rows: FitRows, of_transforms: str | None) -> tuple[str, ...]:
    """What is wrong with the arguments of `fit`, or was not said, in sentences."""
    # Where clean rows were held out, `rows.assumption` says what rests on assumptions.
    numbers = {
        name: value
        for name, value in result.diagnostics.items()
        if rows.assumption is None or name != "given_known"
    }
    names = list(rows.classes)
    near = class_names.near_equal(names)
    return (
        *([] if of_transforms is None else [of_transforms]),
        *sentences(numbers, names),
        *(f"{text[0].upper()}{text[1:]}." for text in near),
    )
