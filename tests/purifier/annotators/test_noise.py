import numpy as np

from dmlp_jax.purifier.annotators import noise
from dmlp_jax.purifier.posterior.transition import transition_matrix

C, EACH = 4, 400


def flipped(rate):
    return (1 - rate) * np.eye(C) + rate * (1 - np.eye(C)) / (C - 1)


def drawn(matrices, each, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([[rng.multinomial(each // C, row) for row in matrix] for matrix in matrices]).astype(
        np.float32
    )


def test_annotators_who_are_alike_share_a_matrix():
    counts = drawn([flipped(0.2)] * 6, each=40)
    found = noise.estimate(counts)
    common = transition_matrix(counts.sum(axis=0))
    alone = np.abs(counts / counts.sum(axis=2, keepdims=True) - flipped(0.2)).mean()
    assert np.abs(found.own - common).mean() < 0.25 * alone
    np.testing.assert_allclose(found.quality, 0.8, atol=0.07)


def test_an_annotator_who_guesses_is_told_apart():
    matrices = [flipped(0.1)] * 4 + [flipped(0.75)]
    found = noise.estimate(drawn(matrices, each=EACH))
    np.testing.assert_allclose(found.quality, [0.9] * 4 + [0.25], atol=0.05)
    np.testing.assert_allclose(found.own[-1], 0.25, atol=0.15)


def test_an_annotator_without_labels_has_the_common_matrix():
    counts = drawn([flipped(0.1), flipped(0.4), flipped(0.1)], each=EACH)
    counts[2] = 0
    found = noise.estimate(counts)
    np.testing.assert_allclose(found.own[2], found.common, atol=1e-6)
    assert found.quality[2] == 0
