"""Runs the steps of an epoch on the devices: selects rows and PRNG keys, groups steps into calls."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.training import parallel, streaming

# Steps per compiled call on accelerators. On CPU one: a convolution inside lax.scan is far slower there.
STEPS_PER_CALL = 50


class Batch(NamedTuple):
    """One device's share of a batch.

    Attributes:
        data: rows of the training set, a pytree of arrays [b, ...], under the keys of the plan's `indices`.
        keys: one typed PRNG key per row [b], independent of how the batch is split over devices.
        key: a typed PRNG key, the same on all devices.
        rows: indices of the rows in the training set [b], as in the plan.
        epoch: epochs done, including the fraction of the current one; float32 scalar.
        info: this step's entries of the plan's `info`.
    """

    data: Any
    keys: jax.Array
    key: jax.Array
    rows: Any
    epoch: jax.Array
    info: Any


class Plan(NamedTuple):
    """The steps of one epoch.

    Attributes:
        indices: row indices of each step [steps, b], or a dict of such arrays with the same b.
        info: further inputs of the steps, a pytree of arrays [steps, ...].
    """

    indices: Any
    info: Any = ()

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(jax.tree.leaves(self.indices)[0])


class Step(Protocol):
    """One update, `(state, batch, axis_name=...) -> (state, metrics)`; metrics are scalars with a 'loss'."""

    def __call__(self, state: Any, batch: Batch, *, axis_name: str | None) -> tuple[Any, dict]:
        """Updates the state with one device's share of the batch, reducing over `axis_name`."""


def shuffled(rows: int, batch_size: int, key: jax.Array) -> Plan:
    """Plans full batches of all rows in random order; an incomplete last batch is dropped.

    Args:
        rows: number of rows in the training set.
        batch_size: rows per step over all devices.
        key: PRNG key of the epoch.
    """
    order = np.asarray(jax.random.permutation(key, rows))
    steps = rows // batch_size
    return Plan(order[: steps * batch_size].reshape(steps, batch_size))


def mapped(step: Step, devices: list[jax.Device]) -> Callable[..., Any]:
    """Compiles a step into `(state, data, rows, shared) -> (state, metrics [steps])`, several steps per call.

    Args:
        step: the update.
        devices: this process's devices to run on.

    Returns:
        A function of the replicated state; the replicated arrays of the training set; the sharded pair of
        row indices and rows fetched for them (see `streaming`); and the second element of each of `pieces`.
    """
    axis = parallel.axis_name(devices)

    def one(state, data, chosen, shared):
        indices, fetched = chosen
        number, epoch, info, key = shared
        key = jax.random.fold_in(key, number)
        size = jax.tree.leaves(indices)[0].shape[0]
        offset = 0 if axis is None else jax.lax.axis_index(axis) * size
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, offset + jnp.arange(size))
        rows = jax.tree.map(lambda index, found: streaming.gather(data, found, index), indices, fetched)
        # Different from all row keys, because row positions are below 2^31.
        whole = jax.random.fold_in(key, 2**31)
        state, metrics = step(state, Batch(rows, keys, whole, indices, epoch, info), axis_name=axis)
        return state, metrics if axis is None else jax.lax.pmean(metrics, axis)

    def several(state, data, chosen, shared):
        numbers, epochs, info, key = shared
        if len(numbers) == 1:
            first = jax.tree.map(lambda values: values[0], (chosen, (numbers, epochs, info)))
            state, metrics = one(state, data, first[0], (*first[1], key))
            return state, jax.tree.map(lambda value: value[None], metrics)

        def body(state, at):
            return one(state, data, at[0], (*at[1], key))

        return jax.lax.scan(body, state, (chosen, (numbers, epochs, info)))

    return parallel.map_step(several, devices)


def steps_per_call(platform: str, streamed: bool) -> int:
    """Number of steps per call: one on CPU and for streamed data, as fetching takes longer than a call."""
    return 1 if platform == "cpu" or streamed else STEPS_PER_CALL


def pieces(plan: Plan, epoch: int, key: jax.Array, size: int) -> list[tuple[Any, Any]]:
    """Divides a plan into calls: full calls of `size` steps, then single steps.

    Args:
        plan: plan of the epoch.
        epoch: epochs done before.
        key: PRNG key of the epoch's steps.
        size: most steps in a call, see `steps_per_call`.

    Returns:
        For each call, the row indices [steps, b], and a tuple of step numbers [steps], epochs done at each
        step [steps], the plan's `info` and `key`.
    """
    steps = plan.steps
    # The number of steps may differ between epochs; with two call lengths only, XLA compiles at most twice.
    full = steps - steps % size
    bounds = [*range(0, full, size), *range(full, steps), steps]
    numbers = np.arange(steps, dtype=np.int32)
    epochs = (epoch + numbers / steps).astype(np.float32)
    return [
        (
            jax.tree.map(lambda values: values[first:last], plan.indices),  # noqa: B023
            (
                numbers[first:last],
                epochs[first:last],
                jax.tree.map(lambda values: values[first:last], plan.info),  # noqa: B023
                key,
            ),
        )
        for first, last in itertools.pairwise(bounds)
    ]
