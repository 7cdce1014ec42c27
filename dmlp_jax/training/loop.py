"""The one training loop: epochs, data order, checkpoints, metrics, progress.

A method is two pure functions. The loop gathers each batch from a data set that lies on the devices, inside
the jitted step, and derives every random choice from `fold_in(key, epoch)` and `fold_in(key, step)`, so that
a resumed run is the uninterrupted run, bit for bit on CPU.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.training import parallel
from dmlp_jax.training.checkpoint import Checkpoints
from dmlp_jax.training.metrics import MetricsLog, Progress

# Steps in one dispatch on accelerators. On CPU one: a convolution inside lax.scan is far slower there.
STEPS_PER_CALL = 50


class Batch(NamedTuple):
    """What a step sees on one device.

    Attributes:
        data: the rows of the batch, a pytree of arrays [b, ...].
        keys: one typed PRNG key per row [b], the same however the batch is dealt out to devices.
    """

    data: Any
    keys: jax.Array


class Step(Protocol):
    """One update, `(state, batch, axis_name=...) -> (state, metrics)`; metrics are scalars with a 'loss'."""

    def __call__(self, state: Any, batch: Batch, *, axis_name: str | None) -> tuple[Any, dict]:
        """Runs the update on one device's share of the batch, reducing over `axis_name`."""


class LoopOptions(NamedTuple):
    """How long, how wide, where to.

    Attributes:
        stage: name in metrics and progress lines.
        epochs: passes over the data.
        batch_size: rows per step over all devices; what is left over in an epoch is dropped.
        checkpoint_epochs: epochs between checkpoints; the last epoch is always saved.
        folder: where the checkpoints lie.
        devices: to run on.
        log_seconds: at most one progress line in this time.
    """

    stage: str
    epochs: int
    batch_size: int
    checkpoint_epochs: int
    folder: Path
    devices: list[jax.Device]
    log_seconds: float


class Outcome(NamedTuple):
    """The final state, unreplicated, and what `evaluate` returned after each epoch."""

    state: Any
    curve: list[dict[str, float]]


def steps_per_epoch(rows: int, batch_size: int, num_devices: int, key: str) -> int:
    """Whole batches in an epoch.

    Args:
        rows: of the training set.
        batch_size: over all devices.
        num_devices: that share it.
        key: prefix of the configuration keys, for the message.

    Raises:
        UserError: the batch is larger than the data, or the devices cannot share it.
    """
    if not 0 < batch_size <= rows:
        raise UserError(
            f"{key}.batch_size is {batch_size} with {rows} rows to train on; choose one between 1 and {rows}"
        )
    if batch_size % num_devices:
        raise UserError(
            f"{key}.batch_size {batch_size} cannot be shared by {num_devices} devices; choose a multiple, or "
            "set num_devices"
        )
    return rows // batch_size


def fit(
    step: Step,
    state: Any,
    data: Any,
    options: LoopOptions,
    *,
    key: jax.Array,
    log: MetricsLog,
    evaluate: Callable[[Any], dict[str, float]] | None = None,
    compiled: dict | None = None,
) -> Outcome:
    """Trains from `state`, or from the latest checkpoint in `options.folder`.

    Args:
        step: the update.
        state: initial state, a pytree of arrays.
        data: the training set, a pytree of arrays [n, ...].
        options: see `LoopOptions`.
        key: typed PRNG key; data order and every step's keys derive from it.
        log: receives the mean of every metric per epoch.
        evaluate: called with the unreplicated state after each epoch; its numbers are logged and returned.
        compiled: a dict that lends this loop's compiled step to the next loop of the same step.

    Raises:
        UserError: the loss is not finite, or the batch does not fit.
    """
    devices = options.devices
    rows = jax.tree.leaves(data)[0].shape[0]
    per_epoch = steps_per_epoch(rows, options.batch_size, len(devices), options.stage.split("/")[0])
    total = options.epochs * per_epoch
    order_key, step_key = jax.random.split(key)
    update = _mapped(step, devices, {} if compiled is None else compiled)

    with Checkpoints(options.folder) as checkpoints:
        first, curve = 0, []
        if (restored := checkpoints.restore(state)) is not None:
            first, state, curve = restored.epoch, restored.state, restored.progress["curve"]
        log.rewind(options.stage, first)
        if first >= options.epochs:
            return Outcome(jax.tree.map(np.asarray, state), curve)
        if first:
            print(f"{options.stage}  resumes after epoch {first} of {options.epochs}", flush=True)
        state = parallel.replicate(state, devices)
        data = parallel.replicate(data, devices)
        progress = Progress(options.stage, total, options.batch_size, options.log_seconds, first * per_epoch)
        for epoch in range(first, options.epochs):
            order = jax.random.permutation(jax.random.fold_in(order_key, epoch), rows)
            indices = np.asarray(order)[: per_epoch * options.batch_size].reshape(per_epoch, -1)
            watch = _Watch(options, epoch, per_epoch, progress)
            done = 0
            for chunk in _chunks(indices, devices[0].platform):
                number = np.int32(epoch * per_epoch + done)
                state, metrics = update(state, data, parallel.shard(chunk, devices), step_key, number)
                done += len(chunk)
                watch.add(done, metrics)
            means = watch.finish()
            plain = parallel.unreplicate(state, devices) if evaluate else None
            scores = evaluate(plain) if evaluate else {}
            curve.append(scores)
            log.write(options.stage, epoch + 1, {**means, **scores})
            last = epoch + 1 == options.epochs
            if last or (epoch + 1) % options.checkpoint_epochs == 0:
                plain = parallel.unreplicate(state, devices) if plain is None else plain
                checkpoints.save(epoch + 1, plain, {"curve": curve})
            if last or progress.due():
                progress.show((epoch + 1) * per_epoch, _format({**means, **scores}))
    return Outcome(parallel.unreplicate(state, devices), curve)


def _mapped(step: Step, devices: list[jax.Device], compiled: dict) -> Callable:
    """The step over the devices, several steps a call; kept in `compiled` for the next loop."""
    if "update" not in compiled:
        axis = parallel.axis_name(devices)

        def one(state, data, indices, key, number):
            shared = jax.random.fold_in(key, number)
            offset = 0 if axis is None else jax.lax.axis_index(axis) * indices.shape[0]
            places = offset + jnp.arange(indices.shape[0])
            keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(shared, places)
            batch = Batch(jax.tree.map(lambda rows: rows[indices], data), keys)
            state, metrics = step(state, batch, axis_name=axis)
            return state, metrics if axis is None else jax.lax.pmean(metrics, axis)

        def several(state, data, indices, key, first):
            if indices.shape[0] == 1:
                state, metrics = one(state, data, indices[0], key, first)
                return state, jax.tree.map(lambda value: value[None], metrics)

            def body(state, at):
                return one(state, data, at[0], key, at[1])

            numbers = first + jnp.arange(indices.shape[0], dtype=jnp.int32)
            return jax.lax.scan(body, state, (indices, numbers))

        compiled["update"] = parallel.map_step(several, devices)
    return compiled["update"]


def _chunks(indices: np.ndarray, platform: str) -> list[np.ndarray]:
    """Indices [steps, batch] in pieces of at most two different lengths, one dispatch each."""
    size = 1 if platform == "cpu" else STEPS_PER_CALL
    return np.array_split(indices, -(-len(indices) // size))


class _Watch:
    """Collects an epoch's metrics without waiting for them, and stops at a loss that is not finite."""

    def __init__(self, options: LoopOptions, epoch: int, per_epoch: int, progress: Progress):
        self._options, self._epoch, self._per_epoch = options, epoch, per_epoch
        self._progress = progress
        self._pending: list[dict] = []
        self._seen: list[dict[str, np.ndarray]] = []

    def add(self, done: int, metrics: dict) -> None:
        self._pending.append(metrics)
        if self._progress.due():
            latest = self._collect()
            text = _format({"epoch": self._epoch + 1, "loss": float(latest["loss"][-1])})
            self._progress.show(self._epoch * self._per_epoch + done, text)

    def finish(self) -> dict[str, float]:
        """Means over the epoch."""
        self._collect()
        names = self._seen[0]
        return {n: float(np.mean(np.concatenate([part[n] for part in self._seen]))) for n in names}

    def _collect(self) -> dict[str, np.ndarray]:
        for metrics in self._pending:
            values = {name: _local(value) for name, value in metrics.items()}
            bad = ~np.isfinite(values["loss"])
            if bad.any():
                before = sum(len(part["loss"]) for part in self._seen)
                step = self._epoch * self._per_epoch + before + int(np.argmax(bad)) + 1
                stage = self._options.stage
                keys = stage.split("/")[0]
                raise UserError(
                    f"{stage}: the loss is {values['loss'][bad][0]} at step {step}, epoch {self._epoch + 1}; "
                    f"lower {keys}.lr or raise {keys}.warmup_epochs. The last checkpoint is kept; "
                    "changed settings need another --workdir"
                )
            self._seen.append(values)
        self._pending.clear()
        return self._seen[-1]


def _local(value: jax.Array) -> np.ndarray:
    """Metrics [steps] from one device; all hold the same."""
    array = np.asarray(value.addressable_shards[0].data)
    return array[0] if array.ndim == 2 else array


def _format(values: dict[str, float]) -> str:
    return "  ".join(
        f"{name} {value}" if isinstance(value, int) else f"{name} {value:.4g}"
        for name, value in values.items()
    )
