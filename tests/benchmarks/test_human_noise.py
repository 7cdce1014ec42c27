"""The data sets with mistakes as people make them, and what the benchmark on them counts."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# Expected share of wrong labels; the annotator of 'digits-follows-features' has none that was asked for.
WRONG = {
    "digits-8": 0.08,
    "digits-20": 0.2,
    "digits-40": 0.4,
    "digits-crowd": 0.26,
    "digits-sees-more": 0.04,
    "border": 0.1,
}


@pytest.fixture
def module(monkeypatch):
    """Imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.parametrize("name", [*WRONG, "digits-follows-features"])
def test_mistakes_are_as_many_as_asked_and_gather_where_classes_are_alike(module, name):
    load = module("human_noise_data").load
    data = load(name, 100, 0)
    assert data.features.dtype == np.float32
    assert len(data.features) == len(data.given) == len(data.true) > 1000
    assert len(data.val_features) == len(data.val_given) == len(data.val_true) == 100
    assert set(np.bincount(data.val_true)) == {100 // data.num_classes}
    wrong = data.given != data.true
    share = np.r_[wrong, data.val_given != data.val_true].mean()
    if name in WRONG:
        assert share == pytest.approx(WRONG[name], abs=4 * np.sqrt(share / len(wrong)))
    # A classifier of the true labels is less sure of rows that were given wrong; under drawn noise it is not.
    scaled = (data.features - data.features.mean(axis=0)) / data.features.std(axis=0)
    model = LogisticRegression(C=0.03, max_iter=50)
    sure = cross_val_predict(model, scaled, data.true, cv=2, method="predict_proba").max(axis=1)
    assert roc_auc_score(wrong, -sure) > 0.57
    again, other = load(name, 100, 0), load(name, 100, 1)
    assert all(np.array_equal(a, b) for a, b in zip(data, again, strict=True))
    assert not np.array_equal(data.val_features, other.val_features)


def test_one_annotator_follows_the_features_and_one_saw_more(module):
    """A classifier of the given labels repeats the mistakes of the one, and is worse than the other."""
    load = module("human_noise_data").load
    repeated, gain = {}, {}
    for name in ("digits-follows-features", "digits-sees-more"):
        data = load(name, 100, 0)
        scaled = (data.features - data.features.mean(axis=0)) / data.features.std(axis=0)
        predicted = cross_val_predict(LogisticRegression(max_iter=50), scaled, data.given, cv=3)
        wrong = data.given != data.true
        repeated[name] = np.mean(predicted[wrong] == data.given[wrong])
        gain[name] = np.mean(predicted == data.true) - np.mean(~wrong)
    assert repeated["digits-follows-features"] > 0.4 > repeated["digits-sees-more"]
    assert gain["digits-sees-more"] < -0.05 < gain["digits-follows-features"]


def test_letters_are_told_apart(module):
    images, labels = module("small_images").letters(520)
    assert images.shape == (520, 16, 16)
    assert set(np.bincount(labels)) == {20}
    again, _ = module("small_images").letters.__wrapped__(520)
    assert np.array_equal(images, again)
    features = module("small_images").patch_features(images, patch=5, centroids=20, components=30)
    assert features.shape == (520, 30)
    right = cross_val_predict(LogisticRegression(max_iter=100), features, labels, cv=2) == labels
    assert right.mean() > 5 / 26


def test_labels_by_people_are_read_from_a_folder(module, tmp_path):
    rng = np.random.default_rng(0)
    true, features = rng.integers(0, 4, 2000), rng.normal(size=(2000, 3))
    given = np.where(rng.random(2000) < 0.2, rng.integers(0, 4, 2000), true)
    np.savez(tmp_path / "news_noisy_text.npz", features=features, given_labels=given, true_labels=true)
    np.savez(tmp_path / "cifar10_features.npz", train=features, train_labels=true)
    np.savez(tmp_path / "cifar10n_labels.npz", aggre_label=given, worse_label=true)
    data = module("human_noise_data")
    news = data.load("news", 42, 0, tmp_path)
    assert [len(part) for part in news[:6]] == [1960] * 3 + [40] * 3
    assert np.bincount(news.val_true).tolist() == [10] * 4
    # Rows stay together: each one is found by its features.
    place = {row.tobytes(): i for i, row in enumerate(features.astype(np.float32))}
    for rows, labels, said in ((news[0], news[2], news[1]), (news[3], news[4], news[5])):
        index = [place.pop(row.tobytes()) for row in rows]
        assert np.array_equal(true[index], labels)
        assert np.array_equal(given[index], said)
    assert not place
    thinned = data.labelled("three-percent", 0, tmp_path)
    assert np.mean(thinned.given != thinned.true) == pytest.approx(0.03, abs=0.001)
    assert np.mean(data.labelled("worst", 0, tmp_path).given == true[:2000].size) == 0
    with pytest.raises(ValueError, match="'news' is read from a folder"):
        data.load("news", 40, 0)
    with pytest.raises(ValueError, match="no data set is called 'nws'"):
        data.load("nws", 40, 0)


def test_tags_stand_for_sections(module, tmp_path):
    tags = module("package_tags")
    assert tags.by_tags(["role::program", "game::arcade"]) == "games"
    assert tags.by_tags(["role::shared-lib", "implemented-in::perl"]) == "perl"
    assert tags.by_tags(["role::program"]) is None
    text = ""
    for i in range(300):
        kind, section = ("game::arcade", "games") if i % 2 else ("made-of::font", "fonts")
        section = "games" if i % 10 == 0 else section
        words = (
            f"Description: {section} number {i} of many\nTag: {kind}, role::x,\n x11::y\nSection: {section}"
        )
        text += f"Package: p{i:03}\n{words}\n\n"
    (tmp_path / "Packages").write_text(text)
    features, given, true = tags.load(tmp_path / "Packages", largest=170, components=4)
    assert features.shape == (290, 4)
    assert np.mean(given != true) == pytest.approx(0.1, abs=0.02)
    assert np.bincount(true).tolist() == [120, 170]


def test_suspects_are_reviewed(module):
    methods, data = module("human_noise_methods"), module("human_noise_data")
    problem = methods.Problem(data.load("digits-20", 100, 0), 0)
    picked, half = problem.picked.data, problem.half_picked.data
    assert 100 <= len(picked.val_true) <= 109
    assert len(picked.val_true) + len(picked.true) == len(problem.data.true) + 100
    assert set(picked.val_true) == set(range(10))
    wrong = [np.mean(found.val_given != found.val_true) for found in (picked, half, problem.data)]
    assert wrong[0] > 0.75 > wrong[1] > 0.4 > wrong[2]


def test_scores_are_counted(module):
    human_noise, methods = module("human_noise"), module("human_noise_methods")
    # Four rows, each five times.
    labels, given, said = (np.tile(of, 5) for of in ([0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0]))
    quality, confidence = np.tile([0.9, 0.1, 0.3, 0.5], 5), np.tile([1.0, 0.5, 1.0, 0.5], 5)
    data = module("human_noise_data").HumanNoise(labels, given, labels, labels, labels, labels, 2)
    outcome = methods.Outcome(said, quality, confidence, 0.7)
    found = human_noise.score(data, outcome)
    assert found["accuracy"] == 0.75
    assert found["accuracy_all"] == 7 / 8
    assert found["changed"] == 0.25
    # Of four pairs of a wrong and a right label one is in the wrong order.
    assert found["auroc"] == 0.75
    assert found["average_precision"] == (1 + 2 / 3) / 2
    assert found["confidence"] == 0.75
    assert found["claimed"] == 0.7
    assert np.isnan(human_noise.score(data, methods.Outcome(labels))["auroc"])


def test_fewer_training_rows_are_drawn_from_the_same_split(module):
    load = module("human_noise_data").load
    whole, some = load("border", 50, 1), load("border", 50, 1, rows=200)
    assert len(some.given) == len(some.features) == len(some.true) == 200
    np.testing.assert_array_equal(some.val_features, whole.val_features)
    assert {row.tobytes() for row in some.features} <= {row.tobytes() for row in whole.features}
    assert len(load("border", 50, 1, rows=10**6).given) == len(whole.given)


def test_runs_are_kept(module, tmp_path, monkeypatch):
    human_noise, made = module("human_noise"), []
    monkeypatch.setattr(human_noise, "load", lambda *arguments: made.append(arguments))
    score = dict.fromkeys(module("human_noise_tables").COLUMNS, 0.5) | {"reviewed": 40, "auroc": None}
    monkeypatch.setattr(human_noise, "measure", lambda problem, method: score)
    path = tmp_path / "runs.jsonl"
    problems = [(case, 40, seed) for case in "ab" for seed in range(2)]
    wanted = (problems, ["given", "cleanlab"], None, None, path)
    runs = human_noise.run_all(*wanted)
    assert len(runs) == 8
    assert len(made) == 4
    # A kill cut the last line off.
    text = path.read_text()
    path.write_text(text[:-20])
    assert human_noise.run_all(*wanted) == runs
    assert len(made) == 5
    assert [json.loads(line) for line in path.read_text().splitlines()] == runs
    tables = module("human_noise_tables")
    assert "| b | 40 | 40 | cleanlab | 50.0 ± 0.0 |" in tables.table(runs)
    assert "| a | given labels | 50.0 ± 0.0 |" in tables.curve(runs)
    assert "nan" not in tables.table(runs)
    tables.draw_curve(runs, tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text().count("reviewed rows") >= 2
