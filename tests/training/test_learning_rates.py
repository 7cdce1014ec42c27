import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.training import learning_rates

EPOCHS = 120
COMMON = {"lr": 0.3, "epochs": EPOCHS}
CASES = {
    "cosine": {"warmup_epochs": 5.0},
    "steps": {"lr_drops": (40 / 120, 80 / 120), "lr_drop": 0.01},
    "warm_steps": {"lr_drops": (40 / 120, 80 / 120), "lr_drop": 0.01, "warmup_epochs": 5.0},
    "linear": {"lr_decay_start": 0.4},
    "restarts": {"lr_min": 0.001, "lr_restart_epochs": 10},
    "slow_cosine": {},
    "table": {"lr_table": ((0.0, 0.2), (0.25, 1.0), (0.5, 0.01))},
}


def cosine(epoch):
    if epoch < 5:
        return 0.3 * epoch / 5
    return 0.15 * (1 + math.cos(math.pi * (epoch - 5) / 115))


def steps(epoch):
    return 0.3 if epoch < 40 else 0.003 if epoch < 80 else 0.00003


def warm_steps(epoch):
    return steps(epoch) * min(1, epoch / 5)


def linear(epoch):
    return 0.3 if epoch < 48 else 0.3 * (120 - epoch) / 72


def restarts(epoch):
    return 0.001 + 0.1495 * (1 + math.cos(math.pi * math.fmod(epoch, 10) / 10))


def slow_cosine(epoch):
    return 0.3 * math.cos(7 * math.pi * epoch / (16 * 120))


def table(epoch):
    return 0.06 if epoch < 30 else 0.3 if epoch < 60 else 0.003


ORACLES = (cosine, steps, warm_steps, linear, restarts, slow_cosine, table)


def rates(name, at, **changes):
    rate = learning_rates.make(ConfigDict({**COMMON, "schedule": name, **CASES[name], **changes}))
    return np.asarray(jax.jit(jax.vmap(rate))(jnp.asarray(at, jnp.float32)))


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.__name__)
def test_rates_follow_the_formula(oracle):
    """At every epoch and at fractions, which float32 represents exactly."""
    epochs = np.arange(0, EPOCHS, 1 / 8)
    expected = [oracle(epoch) for epoch in epochs]
    np.testing.assert_allclose(rates(oracle.__name__, epochs), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epochs", [120, 150, 200, 250, 300])
@pytest.mark.parametrize("at", [40, 80, 100])
def test_drops_come_at_the_start_of_their_epoch(epochs, at):
    last = np.float32(at - 1 + 351 / 352)
    found = rates("steps", [last, at, at + 1], epochs=epochs, lr_drops=(at / epochs,), lr_drop=0.1)
    np.testing.assert_allclose(found, [0.3, 0.03, 0.03], rtol=1e-5)


def test_no_drops_no_change():
    np.testing.assert_array_equal(rates("steps", [0, 60, 119.5], lr_drops=()), np.float32(0.3))


def test_warm_up_longer_than_the_run_only_rises():
    found = rates("cosine", [0, 1, 2, 2.5], epochs=3, warmup_epochs=10.0)
    np.testing.assert_allclose(found, 0.3 * np.array([0, 1, 2, 2.5]) / 3, rtol=1e-5)


def test_no_warm_up_starts_at_the_peak():
    np.testing.assert_allclose(rates("cosine", [0, 60], warmup_epochs=0.0), [0.3, 0.15], rtol=1e-5)


def test_decay_that_starts_at_the_end_never_does():
    np.testing.assert_allclose(rates("linear", [0, 60, 119.9], lr_decay_start=1.0), 0.3, rtol=1e-6)


def test_cosine_may_end_above_zero():
    found = rates("cosine", [0, 5, 62.5, EPOCHS], lr_min=0.02)
    np.testing.assert_allclose(found, [0, 0.3, 0.16, 0.02], rtol=1e-5)


@pytest.mark.parametrize("pairs", [(), (0.0, 1.0), ((0.1, 1.0),), ((0.0, 1.0), (1.0, 0.1)), ((0, 1), (0, 2))])
def test_table_of_anything_but_rising_shares_is_refused(pairs):
    with pytest.raises(UserError, match=r"lr_table is .* such as \(\(0,1\),\(0.5,0.1\)\)"):
        rates("table", [0], lr_table=pairs)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_rate_ends_at_zero(name):
    np.testing.assert_allclose(rates(name, [EPOCHS]), 0, atol=1e-7)


def test_periods_may_grow_and_their_peaks_fall():
    """Twelve epochs, then eighteen, twenty-seven and forty: TensorFlow's restarts with t_mul and m_mul."""
    starts = [0, 12, 30, 57, 97.5]
    grown = {"lr_restart_epochs": 12, "lr_restart_growth": 1.5, "lr_restart_peak": 0.9, "lr_min": 0.0}
    found = rates("restarts", starts, **grown)
    np.testing.assert_allclose(found, 0.3 * 0.9 ** np.arange(5), rtol=1e-5)
    middle = (np.array(starts[:-1]) + starts[1:]) / 2
    np.testing.assert_allclose(rates("restarts", middle, **grown), 0.15 * 0.9 ** np.arange(4), rtol=1e-4)
    np.testing.assert_allclose(rates("restarts", np.float32(starts[1:]) - 1e-3, **grown), 0, atol=1e-6)
    with pytest.raises(UserError, match=r"lr_restart_growth is 0\.5"):
        rates("restarts", [0], lr_restart_growth=0.5)


def test_unknown_schedule_is_refused():
    with pytest.raises(UserError, match=r"schedule is 'cosin'.*cosine, steps, warm_steps, linear, restarts"):
        learning_rates.make(ConfigDict({**COMMON, "schedule": "cosin"}))
