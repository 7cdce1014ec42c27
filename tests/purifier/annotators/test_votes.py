import numpy as np

from dmlp_jax.purifier.annotators import votes as votes_lib

VOTES = np.array([[0, 0, 1], [2, -1, 2], [1, 2, -1], [-1, -1, 2], [1, 2, -1]], np.int32)
C = 3


def test_majority_and_shares():
    # Two votes for 1, two for 2 in rows 2 and 4: class 2 is given more often to all rows.
    np.testing.assert_array_equal(votes_lib.majority(VOTES, C), [0, 2, 2, 2, 2])
    shares = votes_lib.shares(VOTES, C)
    np.testing.assert_allclose(shares[0], [2 / 3, 1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(votes_lib.shares(np.full((1, 3), -1), C)[0], 1 / 3, atol=1e-6)


def test_counts_and_likelihood_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    noise = rng.dirichlet(np.ones(C), size=(3, C))
    labels, weight = rng.dirichlet(np.ones(C), size=len(VOTES)), rng.random(len(VOTES))
    counts, logs = np.zeros((3, C, C)), np.zeros((len(VOTES), C))
    for row, row_votes in enumerate(VOTES):
        for annotator, vote in enumerate(row_votes):
            if vote >= 0:
                counts[annotator, :, vote] += weight[row] * labels[row]
                logs[row] += np.log(noise[annotator, :, vote])
    found = votes_lib.counts(labels.T.astype(np.float32), VOTES, weight.astype(np.float32))
    np.testing.assert_allclose(found, counts, rtol=1e-5, atol=1e-6)
    found = votes_lib.log_likelihood(np.log(noise).astype(np.float32), VOTES)
    np.testing.assert_allclose(found, logs, rtol=1e-5, atol=1e-6)
