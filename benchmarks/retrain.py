"""Times an epoch of each retraining method beside plain cross-entropy, on the same network and rows.

    python benchmarks/retrain.py --model=small_cnn --side=8 --rows=4096

Rows and labels are random; times are medians over epochs after compilation. DivideMix's lower bound is the
time of its forward and backward passes alone, in the same process: for every step one training pass over four
batches, one forward pass in training mode over four, one in evaluation mode over two, and for every epoch an
evaluation pass of both networks over all rows.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import numpy as np
from common import markdown, write

from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.data import augment
from dmlp_jax.retrain import method as registry
from dmlp_jax.retrain.method import Task, TrainingSet
from dmlp_jax.retrain.methods import registry as retrain_methods  # noqa: F401  (registers them)
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import inference, learning_rates, loop
from dmlp_jax.training.loop import LoopOptions
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session
from dmlp_jax.training.state import make_optimizer

METHODS = "naive,gce,bootstrap,elr,cdr,co_teaching,co_teaching_plus,elr_plus,dividemix"
CLASSES = 10


def main() -> None:
    """Times every method and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small_cnn")
    parser.add_argument("--side", type=int, default=8, help="pixels")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5, help="timed")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--augment", default="crop_flip")
    parser.add_argument("--methods", default=METHODS, help="the first is what the others are set beside")
    parser.add_argument("--name", default="retrain_speed", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (arguments.rows, arguments.side, arguments.side, arguments.channels)
    targets = np.eye(CLASSES, dtype=np.float32)[rng.integers(CLASSES, size=arguments.rows)]
    train = TrainingSet(rng.integers(256, size=shape).astype(np.uint8), targets, 0.5)

    names = arguments.methods.split(",")
    rows, base, note = [], None, ""
    for name in names:
        compiling, epoch, steps = timed(name, train, arguments)
        base = base or epoch
        cells = [f"{compiling:.1f}", f"{epoch:.3f}", f"{arguments.rows / epoch:,.0f}", f"{epoch / base:.2f}"]
        rows.append([name, *cells])
        if name == "dividemix":
            bare = floor(train, arguments, steps)
            note = (
                f"\n\nDivideMix: {steps} steps an epoch; its passes alone take {bare:.3f} s, the epoch is "
                f"{epoch / bare:.2f} times that."
            )
    text = markdown(["method", "compile, s", "epoch, s", "rows/s", f"beside {names[0]}"], rows) + note
    title = f"Cost of an epoch: {arguments.model}, {arguments.rows:,} images of {arguments.side} pixels"
    write(arguments.name, f"{title}, batches of {arguments.batch_size}, {arguments.dtype}", text)


def settings_of(name: str, arguments: argparse.Namespace, epochs: int):
    """The method's settings with the same network, batch size and augmentation for all."""
    config = default_config()
    config.retrain.method = name
    settings = apply_recipe(config).retrain
    settings.update(
        model=arguments.model, batch_size=arguments.batch_size, dtype=arguments.dtype,
        augment=arguments.augment, epochs=epochs, checkpoint_epochs=epochs, schedule="cosine",
        optimizer="momentum", lr=0.001,
    )  # fmt: skip
    if name == "dividemix":
        settings.divide_warmup = 1
    if name == "co_teaching_plus":
        settings.plus_start = 0.0
    return settings


def timed(name: str, train: TrainingSet, arguments: argparse.Namespace) -> tuple[float, float, int]:
    """Seconds of compiling, median seconds of an epoch, and its steps."""
    warm = 2 if name == "dividemix" else 1
    settings = settings_of(name, arguments, warm + arguments.epochs)
    per_epoch = arguments.rows // arguments.batch_size
    chosen = registry.make(name, settings, Task(CLASSES, per_epoch, None))
    devices = jax.local_devices()[:1]
    steps, times = [per_epoch], [time.perf_counter()]
    planner = chosen.make_planner(train, devices) if chosen.make_planner else None

    def counted(state, epoch, key):
        state, plan = planner(state, epoch, key)
        steps.append(plan.steps)
        return state, plan

    def clock(_):
        times.append(time.perf_counter())
        return {}

    with TemporaryDirectory() as folder:
        log = MetricsLog(Path(folder) / "metrics.jsonl")
        options = LoopOptions("retrain", settings.epochs, arguments.batch_size, 10**6, Path(folder) / name)
        state = chosen.init(jax.random.key(0), train)
        data = {"inputs": train.inputs, "targets": train.targets}
        session = Session(devices, log, 1e9)
        loop.fit(
            chosen.train_step, state, data, options, session, key=jax.random.key(1), evaluate=clock,
            planner=counted if planner else None,
        )  # fmt: skip
        log.close()
    # The last epoch also waits for the checkpoint's start.
    lengths = np.diff(times)
    timed_epochs = lengths[warm:]
    middle = int(np.argsort(timed_epochs)[len(timed_epochs) // 2])
    count = steps[warm + 1 + middle] if planner else per_epoch
    return float(sum(lengths[:warm]) - warm * timed_epochs[middle]), float(timed_epochs[middle]), count


def floor(train: TrainingSet, arguments: argparse.Namespace, steps: int) -> float:
    """Seconds that the passes of `steps` DivideMix steps and of its evaluation take when they run bare."""
    settings = settings_of("naive", arguments, 1)
    optimizer = make_optimizer(settings, learning_rates.make(settings))
    network = Network(settings, Task(CLASSES, 1, None), optimizer)
    state = network.init(jax.random.key(0), train.inputs)
    size, key = arguments.batch_size, jax.random.key(0)
    images = augment.to_float(jnp.asarray(train.inputs[: 4 * size]))
    targets = jnp.asarray(train.targets[: 4 * size])
    many = jnp.asarray(train.inputs[: inference.BATCH])

    def learn(state):
        def loss_fn(params):
            logits, stats = network.train_logits(params, state.batch_stats, images, key, None)
            return -jnp.mean(targets * jax.nn.log_softmax(logits)), stats

        (_, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return network.step(state, grads, stats, None, epoch=jnp.float32(0))

    passes = {
        "learn": (jax.jit(learn), (state,)),
        "guess": (
            jax.jit(lambda s: network.train_logits(s.params, s.batch_stats, images, key, None)), (state,)
        ),
        "peer": (jax.jit(network.logits), (state, images[: 2 * size])),
        "evaluate": (jax.jit(network.logits), (state, many)),
    }  # fmt: skip
    seconds = {name: median_seconds(function, values) for name, (function, values) in passes.items()}
    step = seconds["learn"] + seconds["guess"] + seconds["peer"]
    return steps * step + 2 * (arguments.rows / len(many)) * seconds["evaluate"]


def median_seconds(function: Callable, values: tuple, repeats: int = 20) -> float:
    """Median time of a call, after one that compiles."""
    jax.block_until_ready(function(*values))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*values))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


if __name__ == "__main__":
    main()
