import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from dmlp_jax.purifier.reviewed import averaging
from dmlp_jax.purifier.rows import reviews as reviews_lib

M, C = 12, 3
LABELS = np.arange(M) % C


class Clean:
    """What the average needs of the clean rows; the last one is padding."""

    targets = jnp.asarray(np.eye(C)[LABELS] * (np.arange(M) < M - 1)[:, None], jnp.float32)


def weigh(default, reviewed, log_evidence, given=LABELS):
    reviews = reviews_lib.make(jnp.asarray(given), (jnp.arange(M) < M - 1).astype(jnp.float32), C)
    arrays = (jnp.asarray(x, jnp.float32) for x in (default, reviewed, log_evidence))
    return averaging.average(*arrays, reviews, Clean)


def models(seed=0):
    return log_softmax(np.random.default_rng(seed).normal(size=(2, M, C)), axis=-1)


@pytest.mark.parametrize("given", [LABELS, np.where(LABELS == 1, -1, LABELS)], ids=["all", "some unknown"])
@pytest.mark.parametrize("log_evidence", [-14.0, -10.0, -5.0])
def test_the_share_is_bayes_rule(log_evidence, given):
    default, reviewed = models()
    found = weigh(default, reviewed, log_evidence, given)
    known = (given >= 0) & (np.arange(M) < M - 1)
    likelihood = np.exp(np.sum(default[np.arange(M), LABELS][known]))
    prior = averaging.PRIOR
    share = prior * likelihood / (prior * likelihood + (1 - prior) * np.exp(log_evidence))
    np.testing.assert_allclose(found.share, share, rtol=1e-4)
    both = share * np.exp(default) + (1 - share) * np.exp(reviewed)
    np.testing.assert_allclose(np.exp(found.logits), both, atol=1e-5)


@pytest.mark.parametrize(("log_evidence", "share"), [(-1e4, 1.0), (0.0, 0.0)])
def test_clear_evidence_leaves_one_model_without_rounding_to_nothing(log_evidence, share):
    default, reviewed = models()
    default = default - np.array([0.0, 500.0, 0.0]) if share == 0.0 else default
    found = weigh(default, reviewed, log_evidence)
    np.testing.assert_allclose(found.share, share, atol=1e-6)
    np.testing.assert_allclose(found.logits, default if share else reviewed, atol=1e-4)
    assert np.all(np.isfinite(jax.grad(lambda e: jnp.sum(weigh(default, reviewed, e).logits))(log_evidence)))


def test_the_mix_of_probabilities():
    default, reviewed = np.exp(models(1))
    np.testing.assert_allclose(averaging.mix(0.25, default, reviewed), 0.25 * default + 0.75 * reviewed)
