"""Trains one network per source of labels and measures its accuracy after every epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data.images import lazy
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.retrain import label_variants, method
from dmlp_jax.retrain.method import Task, TrainingSet
from dmlp_jax.retrain.methods import registry  # noqa: F401  (methods registers them)
from dmlp_jax.runtime import hosts
from dmlp_jax.storage import files
from dmlp_jax.training import inference, loop, parallel
from dmlp_jax.training.loop import LoopOptions
from dmlp_jax.training.session import Session

# `(features [n, d], labels [n], test features [t, d], test labels [t]) -> test accuracy in [0, 1]`.
Probe = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]


def retrain(
    problem: Problem,
    labels: dict[str, np.ndarray],
    noise_rates: dict[str, float | None],
    settings: ConfigDict,
    session: Session,
    *,
    folder: Path,
    key: jax.Array,
    seed: int,
    encoder: dict[str, Any] | None,
    probe: Probe | None = None,
) -> dict[str, dict[str, Any]]:
    """Trains and scores one network per entry of `labels`.

    The networks share their compiled step, initialisation and order of the data, so that they differ by
    their labels only.

    Args:
        problem: the rows; inputs as the model takes them.
        labels: by source, class indices [n] or distributions [n, c].
        noise_rates: by source, the estimated share of wrong labels; None where unknown.
        settings: the `retrain` settings.
        session: devices, log, and when to stop.
        folder: retrain/ of the workdir; `<method>-<source>/` in it holds checkpoints and result.json.
        key: typed PRNG key.
        seed: seed for drawing the held-out clean rows.
        encoder: variables of the pretrained encoder, None to start from scratch.
        probe: measures the network's features after each epoch, 'probe_accuracy' of the curve; only reported.

    Returns:
        By source: test accuracies 'best', 'last' (of all epochs, as the paper reports them) and 'selected'
        (at the epoch that is best on the held-out clean rows, which needs no test set), None where unknown.
        A method that corrects labels saves them after the last epoch in corrected.npz: 'probs' [n, c] and
        'labels' [n]. Where the true labels are known, the curve has the accuracy of the corrected labels
        after each epoch, 'label_accuracy'; it is only reported.
    """
    images = problem.train_inputs.ndim > 2
    method.check_needs(settings.method, images=images, with_val=settings.with_val)
    classes = len(problem.class_names)
    train_rows, select_rows = label_variants.split_clean(
        problem.val_labels, settings.select_share, np.random.default_rng([seed, 3])
    )
    if not settings.with_val:
        train_rows = train_rows[:0]
    rows = len(problem.train_inputs) + len(train_rows)
    per_epoch = loop.steps_per_epoch(rows, settings.batch_size, parallel.total(session.devices), "retrain")
    chosen = method.make(settings.method, settings, Task(classes, per_epoch, encoder))
    held = {"select": (lazy.take(problem.val_inputs, select_rows), problem.val_labels[select_rows])}
    if problem.test_inputs is not None:
        held["test"] = (problem.test_inputs, problem.test_labels)
    score = _evaluator(chosen.predict, held, session.devices)
    if probe is not None:
        score = _with_probe(score, chosen.features, probe, problem, session.devices)

    init_key, fit_key = jax.random.split(key)
    compiled: dict = {}
    results = {}
    for source, values in labels.items():
        place = folder / f"{settings.method}-{source}"
        known = hosts.agree(lambda: finished(place))  # noqa: B023
        if known is not None:
            results[source] = known
            continue
        train = label_variants.training_set(problem, values, train_rows, classes, noise_rates[source])
        correct = _corrector(chosen.correct, train, session.devices) if chosen.correct else None
        options = LoopOptions(
            f"retrain/{settings.method}-{source}",
            settings.epochs,
            settings.batch_size,
            settings.checkpoint_epochs,
            place,
            chosen.alike_from,
        )
        outcome = loop.fit(
            chosen.train_step,
            chosen.init(init_key, train),
            {"inputs": train.inputs, "targets": train.targets},
            options,
            session,
            key=fit_key,
            evaluate=_with_label_accuracy(score, correct, problem.true_labels),
            planner=chosen.make_planner(train, session.devices) if chosen.make_planner else None,
            compiled=compiled,
        )
        if correct:
            probs = correct(outcome.state)
            corrected = {"probs": probs, "labels": np.argmax(probs, axis=1).astype(np.int32)}
            hosts.only_main(lambda: files.save_npz(place / "corrected.npz", corrected))  # noqa: B023
        results[source] = {**_summarize(outcome.curve), "noise_rate": noise_rates[source]}
        if correct:
            results[source]["label_accuracy"] = outcome.curve[-1].get("label_accuracy")
        hosts.only_main(lambda: files.save_json(place / "result.json", results[source]))  # noqa: B023
    return results


def finished(place: Path) -> dict[str, Any] | None:
    """The saved result of a network; None if there is none, or if its corrected labels are missing.

    Args:
        place: the network's folder.

    Raises:
        UserError: the result is damaged.
    """
    path = place / "result.json"
    if not path.exists():
        return None
    result = files.load_json(path)
    # The results of methods that correct labels are those with 'label_accuracy'.
    return None if "label_accuracy" in result and not (place / "corrected.npz").exists() else result


def _evaluator(
    predict: Callable[[Any, jax.Array], jax.Array],
    held: dict[str, tuple[Images, Any]],
    devices: list[jax.Device],
) -> Callable[[Any], dict[str, float]]:
    """Makes a function from the state to the accuracy on every non-empty set; one pass over all sets."""
    held = {name: rows for name, rows in held.items() if len(rows[0])}
    if not held:
        return lambda state: {}
    inputs = lazy.concatenate([rows for rows, _ in held.values()])
    labels = np.concatenate([labels for _, labels in held.values()])
    owner = np.repeat(list(held), [len(rows) for rows, _ in held.values()])
    classify = inference.over_rows(
        lambda state, rows: jnp.argmax(predict(state, rows), axis=-1), (inputs,), devices
    )

    def evaluate(state):
        hits = classify(state) == labels
        return {f"{name}_accuracy": float(np.mean(hits[owner == name])) for name in held}

    return evaluate


def _corrector(
    correct: Callable[..., jax.Array], train: TrainingSet, devices: list[jax.Device]
) -> Callable[[Any], np.ndarray]:
    """Makes a function from the state to corrected labels [n, c] of the noisy rows."""
    noisy = len(train.targets) - train.num_clean
    rows = np.arange(noisy, dtype=np.int32)
    arrays = (lazy.take(train.inputs, rows), train.targets[:noisy], rows)
    return inference.over_rows(correct, arrays, devices)


def _with_label_accuracy(
    score: Callable[[Any], dict[str, float]],
    correct: Callable[[Any], np.ndarray] | None,
    true_labels: np.ndarray | None,
) -> Callable[[Any], dict[str, float]]:
    """Adds to `score` the share of corrected labels that are right, for reporting only."""
    if correct is None or true_labels is None:
        return score

    def evaluate(state):
        right = np.argmax(correct(state), axis=1) == true_labels
        return {**score(state), "label_accuracy": float(np.mean(right))}

    return evaluate


def _with_probe(
    score: Callable[[Any], dict[str, float]],
    features: Callable[[Any, jax.Array], jax.Array] | None,
    probe: Probe,
    problem: Problem,
    devices: list[jax.Device],
) -> Callable[[Any], dict[str, float]]:
    """Adds to `score` the test accuracy of a probe of the network's features, trained on the true labels."""
    if features is None:
        raise UserError(
            "retrain.linear_probe is True, but this retrain.method shows no features; take mlc or "
            "mlc_decoupled, or leave it False"
        )
    true, test = problem.true_labels, problem.test_labels
    if true is None or problem.test_inputs is None or test is None:
        raise UserError(
            "retrain.linear_probe is True, but the data have no true labels or no test set; leave it False"
        )
    of_train, of_test = (
        inference.over_rows(features, (part,), devices)
        for part in (problem.train_inputs, problem.test_inputs)
    )

    def evaluate(state):
        return {**score(state), "probe_accuracy": probe(of_train(state), true, of_test(state), test)}

    return evaluate


def _summarize(curve: list[dict[str, float]]) -> dict[str, Any]:
    """Best, last and selected test accuracy of a curve; of equally good epochs the latest is selected."""
    test = [scores["test_accuracy"] for scores in curve if "test_accuracy" in scores]
    select = [scores["select_accuracy"] for scores in curve if "select_accuracy" in scores]
    epoch = max((score, index) for index, score in enumerate(select))[1] if select else None
    return {
        "best": max(test, default=None),
        "last": test[-1] if test else None,
        "selected": test[epoch] if test and epoch is not None else None,
        "selected_epoch": None if epoch is None else epoch + 1,
        "curve": curve,
    }
