"""A small crowd for tests: rows of Gaussian classes, annotators of known quality."""

import numpy as np

from tests.conftest import make_blobs

ROWS, CLEAN, C = 300, 30, 3
# The share of right labels of each annotator, and how many of them label a row. The last one guesses.
RIGHT = (0.9, 0.75, 0.6, 1 / 3)
LABELS_A_ROW = 3


def crowd(seed, right=RIGHT, each=LABELS_A_ROW):
    """Features, votes, the clean rows, their votes, and the true labels of the training rows."""
    features, _, val, true = make_blobs(seed, rows=ROWS, val_rows=CLEAN, noise=0.6)
    rng = np.random.default_rng(seed + 50)
    given = votes_on(true, right, each, rng), votes_on(val[1], right, each, rng)
    return features, given[0], val, given[1], true


def votes_on(true, right, each, rng):
    """Votes [n, a]: each annotator is right with its own probability, else names another class at random."""
    columns = []
    for share in right:
        other = (true + rng.integers(1, C, size=len(true))) % C
        columns.append(np.where(rng.random(len(true)) < share, true, other))
    turn = rng.random((len(true), len(right))).argsort(axis=1)
    return np.where(turn < each, np.stack(columns, axis=1), -1).astype(np.int32)


def majority(votes):
    """The majority vote, ties to the class that is given more often."""
    counts = np.stack([(votes == label).sum(axis=1) for label in range(C)], axis=1)
    return (counts + 0.5 * counts.sum(axis=0) / counts.sum()).argmax(axis=1)
