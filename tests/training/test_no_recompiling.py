"""After the first epoch of a loop nothing is traced or compiled any more."""

import jax
import numpy as np
import pytest

from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.contrastive.pretrain import make as make_pretraining
from dmlp_jax.retrain import method
from dmlp_jax.retrain.method import Task, TrainingSet
from dmlp_jax.retrain.methods import registry  # noqa: F401  (registers them)
from dmlp_jax.training import loop
from dmlp_jax.training.loop import LoopOptions
from dmlp_jax.training.session import Session

EVENTS = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/backend_compile_duration")
EPOCHS = 4


@pytest.fixture(scope="module")
def compiling():
    """Events of tracing and compiling, as they come. Jax cannot take a single listener back."""
    seen = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: seen.append(event))
    return seen


class Ledger:
    """In place of the metrics' log: what was traced and compiled in each epoch."""

    def __init__(self, seen):
        self.seen, self.counts = seen, []

    def rewind(self, stage, step):
        self.seen.clear()

    def write(self, stage, step, values):
        self.counts.append(sum(event in EVENTS for event in self.seen))
        self.seen.clear()


def counts(step, state, data, seen, tmp_path, **more):
    """Traces and compilations of every epoch; the rows are no multiple of the batch."""
    ledger = Ledger(seen)
    options = LoopOptions("pretrain", EPOCHS, 8, 10**6, tmp_path / "state")
    session = Session(jax.local_devices()[:1], ledger, 1e9)
    loop.fit(step, state, data, options, session, key=jax.random.key(0), **more)
    assert len(ledger.counts) == EPOCHS
    return ledger.counts


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(256, size=(20, 8, 8, 1), dtype=np.uint8)


@pytest.mark.parametrize("name", ["simclr", pytest.param("moco", marks=pytest.mark.slow)])
def test_pretraining_compiles_in_its_first_epoch_only(name, images, compiling, tmp_path):
    settings = default_config().pretrain
    settings.update(
        method=name,
        model="small_cnn",
        batch_size=8,
        epochs=EPOCHS,
        queue=16,
        norm_groups=2,
        augment="crop_flip",
    )
    chosen = make_pretraining(settings)
    state = jax.jit(lambda key: chosen.init(key, images))(jax.random.key(0))
    found = counts(chosen.step, state, images, compiling, tmp_path)
    assert found[0] > 0
    assert found[1:] == [0] * (EPOCHS - 1)


def retraining(name, images):
    """The method, its training set and its initial state; DivideMix divides from the second epoch on."""
    config = default_config()
    config.retrain.method = name
    settings = apply_recipe(config).retrain
    settings.update(model="small_cnn", batch_size=8, epochs=EPOCHS, augment="crop_flip", dtype="float32")
    if name == "dividemix":
        settings.update(divide_warmup=1, lambda_u_ramp=1)
    train = TrainingSet(images, np.eye(3, dtype=np.float32)[np.arange(len(images)) % 3], 0.5)
    chosen = method.make(name, settings, Task(3, len(images) // 8, None))
    return chosen, train, jax.jit(lambda key: chosen.init(key, train))(jax.random.key(0))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("elr", 1),
        pytest.param("co_teaching", 1, marks=pytest.mark.slow),
        pytest.param("dividemix", 2, marks=pytest.mark.slow),  # warms up in an epoch, then divides
    ],
)
def test_retraining_compiles_in_its_first_epoch_of_a_kind_only(name, first, images, compiling, tmp_path):
    chosen, train, state = retraining(name, images)
    data = {"inputs": train.inputs, "targets": train.targets}
    predict = jax.jit(chosen.predict)
    evaluate = lambda state: {"mean": float(np.mean(predict(state, train.inputs)))}  # noqa: E731
    planner = chosen.make_planner(train, jax.local_devices()[:1]) if chosen.make_planner else None
    found = counts(chosen.train_step, state, data, compiling, tmp_path, evaluate=evaluate, planner=planner)
    assert all(number > 0 for number in found[:first])
    assert found[first:] == [0] * (EPOCHS - first)


def test_a_step_that_is_traced_anew_is_seen(compiling, tmp_path):
    """What the tests above would report: a program made in every epoch."""

    def step(state, batch, *, axis_name):
        return state + batch.data.sum(), {"loss": state}

    evaluate = lambda state: {"square": float(jax.jit(lambda x: x * x)(state))}  # noqa: E731
    data = np.arange(20.0, dtype=np.float32)
    found = counts(step, np.float32(0), data, compiling, tmp_path, evaluate=evaluate)
    assert all(number > 0 for number in found[1:])
