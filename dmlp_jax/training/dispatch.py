"""From an epoch's plan to steps on the devices: which rows, which keys, how many steps a call."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.training import parallel, streaming

# Steps in one dispatch on accelerators. On CPU one: a convolution inside lax.scan is far slower there.
STEPS_PER_CALL = 50


class Batch(NamedTuple):
    """What a step sees on one device.

    Attributes:
        data: the rows of the batch, a pytree of arrays [b, ...], under the keys of the plan's `indices`.
        keys: one typed PRNG key per row [b], the same however the batch is dealt out to devices.
        key: a typed PRNG key, the same on all devices.
        rows: the rows' numbers in the training set [b], as in the plan.
        epoch: epochs done, with the fraction of the present one; float32 scalar.
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
        indices: rows of each step [steps, b], or a dict of such arrays with the same b.
        info: anything else that steps need, a pytree of arrays [steps, ...].
    """

    indices: Any
    info: Any = ()

    @property
    def steps(self) -> int:
        """How many."""
        return len(jax.tree.leaves(self.indices)[0])


class Step(Protocol):
    """One update, `(state, batch, axis_name=...) -> (state, metrics)`; metrics are scalars with a 'loss'."""

    def __call__(self, state: Any, batch: Batch, *, axis_name: str | None) -> tuple[Any, dict]:
        """Runs the update on one device's share of the batch, reducing over `axis_name`."""


def shuffled(rows: int, batch_size: int, key: jax.Array) -> Plan:
    """Whole batches of all rows in random order; what is left over is dropped.

    Args:
        rows: of the training set.
        batch_size: over all devices.
        key: of the epoch.
    """
    order = np.asarray(jax.random.permutation(key, rows))
    steps = rows // batch_size
    return Plan(order[: steps * batch_size].reshape(steps, batch_size))


def mapped(step: Step, devices: list[jax.Device]) -> Callable[..., Any]:
    """`(state, data, rows, shared) -> (state, metrics [steps])` over the devices, several steps a call.

    Args:
        step: the update.
        devices: to run on.

    Returns:
        A function of the replicated state and arrays, the sharded pair of indices and rows fetched for them
        (`streaming`), and what `pieces` puts beside the indices.
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
        # No row of the batch has the key of the batch: places end below 2^31.
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
    """How many steps go into one dispatch; one where their rows are fetched, which takes longer than it."""
    return 1 if platform == "cpu" or streamed else STEPS_PER_CALL


def pieces(plan: Plan, epoch: int, key: jax.Array, size: int) -> list[tuple[Any, Any]]:
    """The plan in calls of few different lengths: indices [steps, b] and what else the steps share.

    Args:
        plan: of the epoch.
        epoch: epochs done before.
        key: of the epoch's steps.
        size: most steps in a call, see `steps_per_call`.
    """
    steps = plan.steps
    # Plans may have another number of steps each epoch: full calls, then single steps, compile twice.
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
