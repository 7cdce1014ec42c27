"""Runs the training loop that all methods share: epochs, data order, checkpoints, metrics, progress lines.

A method provides a step, which is a pure function, and optionally a planner that chooses the rows of each
epoch. All random choices derive from `fold_in(key, epoch)` and `fold_in(key, step)`. A resumed run therefore
gives the same result as an uninterrupted one, bit for bit on CPU.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.data import prefetch
from dmlp_jax.errors import UserError
from dmlp_jax.training import dispatch, parallel, streaming
from dmlp_jax.training.checkpoint import Checkpoints
from dmlp_jax.training.dispatch import Plan, Step
from dmlp_jax.training.progress import Progress, format_values
from dmlp_jax.training.session import Session, Stopped
from dmlp_jax.training.watch import Watch

# `(unreplicated state, epochs done, key of the epoch) -> (state, plan of the next epoch)`, on the host.
Planner = Callable[[Any, int, jax.Array], tuple[Any, Plan]]


class LoopOptions(NamedTuple):
    """Options of a training loop.

    Attributes:
        stage: name in metrics and progress lines.
        epochs: passes over the data.
        batch_size: rows per step over all devices; an incomplete last batch is dropped.
        checkpoint_epochs: epochs between checkpoints; the last epoch is always saved.
        folder: folder of the checkpoints.
        alike_from: number of first epochs that take less or more time than all others, such as a warm-up: no
            time left is told during them.
    """

    stage: str
    epochs: int
    batch_size: int
    checkpoint_epochs: int
    folder: Path
    alike_from: int = 0


class Outcome(NamedTuple):
    """The result of a training loop.

    Attributes:
        state: the final state, unreplicated.
        curve: what `evaluate` returned after each epoch.
    """

    state: Any
    curve: list[dict[str, float]]


def steps_per_epoch(rows: int, batch_size: int, num_devices: int, key: str) -> int:
    """Number of full batches in an epoch.

    Args:
        rows: number of rows in the training set.
        batch_size: rows per step over all devices.
        num_devices: number of devices that share a batch.
        key: prefix of the configuration keys, for the error message.

    Raises:
        UserError: the batch is larger than the data, or not a multiple of the number of devices.
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
    session: Session,
    *,
    key: jax.Array,
    evaluate: Callable[[Any], dict[str, float]] | None = None,
    planner: Planner | None = None,
    compiled: dict | None = None,
) -> Outcome:
    """Trains from `state`, or from the latest checkpoint in `options.folder`.

    Args:
        step: the update.
        state: initial state, a pytree of arrays.
        data: the training set, a pytree of arrays [n, ...], which are copied to every device, and of sources,
            whose rows are fetched when they are needed (see `streaming`).
        options: see `LoopOptions`.
        session: devices, log and stop signal.
        key: typed PRNG key; the data order and the keys of all steps derive from it.
        evaluate: called with the unreplicated state after each epoch; its numbers are logged and returned.
        planner: called before each epoch to plan its batches; without one, each epoch passes over all rows in
            random order.
        compiled: a dict shared by loops of the same step, so that the step is compiled only once.

    Raises:
        UserError: the loss is not finite, or the batch size does not fit.
        Stopped: `session.stop` returned true. All finished epochs are saved; the current one is lost.
    """
    devices, log = session.devices, session.log
    rows = jax.tree.leaves(data)[0].shape[0]
    arrays, sources = streaming.split(data)
    call = dispatch.steps_per_call(devices[0].platform, streamed=bool(jax.tree.leaves(sources)))
    steps_per_epoch(rows, options.batch_size, parallel.total(devices), options.stage.split("/")[0])
    order_key, step_key = jax.random.split(key)
    compiled = {} if compiled is None else compiled
    if "update" not in compiled:
        compiled["update"] = dispatch.mapped(step, devices)
    update = compiled["update"]

    with Checkpoints(options.folder, one_disk=session.one_disk) as checkpoints:
        first, curve = 0, []
        if (restored := checkpoints.restore(state)) is not None:
            first, state, curve = restored.epoch, restored.state, restored.progress["curve"]
        log.rewind(options.stage, first)
        plain = jax.tree.map(np.asarray, state)
        if first >= options.epochs:
            return Outcome(plain, curve)
        if first:
            print(f"{options.stage}  resumes after epoch {first} of {options.epochs}", flush=True)
        if planner is None:
            state = parallel.replicate(plain, devices)
        arrays = parallel.replicate(arrays, devices)
        progress = Progress(
            options.stage,
            options.epochs,
            session.log_seconds,
            first,
            work_between=bool(evaluate or planner),
            alike_from=max(first, options.alike_from),
        )
        unsaved = None
        for epoch in range(first, options.epochs):
            progress.prepare_epoch()
            epoch_key = jax.random.fold_in(order_key, epoch)
            if planner is None:
                plan = dispatch.shuffled(rows, options.batch_size, epoch_key)
            else:
                plain, plan = planner(plain, epoch, epoch_key)
                state = parallel.replicate(plain, devices)
            progress.begin_epoch(epoch)
            watch = Watch(options.stage, epoch, plan.steps, progress)
            done = 0
            keys = jax.random.fold_in(step_key, epoch)
            pieces = dispatch.pieces(plan, epoch, keys, call)
            for (indices, shared), fetched in prefetch.ahead(pieces, partial(_start, sources)):
                if session.stop():
                    if unsaved is not None:
                        checkpoints.save(epoch, unsaved(), {"curve": list(curve)})
                    raise Stopped
                chosen = parallel.shard((parallel.own_share(indices), fetched()), devices)
                state, metrics = update(state, arrays, chosen, shared)
                done += len(shared[0])
                watch.add(done, sum(index.size for index in jax.tree.leaves(indices)), metrics)
            means = watch.finish()
            progress.end_epoch(epoch + 1)
            last = epoch + 1 == options.epochs
            due = last or (epoch + 1) % options.checkpoint_epochs == 0
            if due or evaluate or planner:
                plain = parallel.unreplicate(state, devices)
            unsaved = None
            if not due:
                unsaved = _keep(plain) if evaluate or planner else _keep_copy(state, devices)
            scores = evaluate(plain) if evaluate else {}
            curve.append(scores)
            log.write(options.stage, epoch + 1, {**means, **scores})
            if due:
                # A copy, because the next epoch appends to `curve` while the save runs in the background.
                checkpoints.save(epoch + 1, plain, {"curve": list(curve)})
            if last or progress.due():
                progress.show(epoch + 1, format_values({**means, **scores}))
    return Outcome(plain, curve)


def _start(sources: Any, piece: tuple[Any, Any]) -> Callable[[], Any]:
    return streaming.start(sources, parallel.own_share(piece[0]))


def _keep(plain: Any) -> Callable[[], Any]:
    return lambda: plain


def _keep_copy(state: Any, devices: list[jax.Device]) -> Callable[[], Any]:
    """Copies the state on the devices, since the next step overwrites its buffers; the result fetches it."""
    copy = jax.tree.map(jnp.copy, state)
    return lambda: parallel.unreplicate(copy, devices)
