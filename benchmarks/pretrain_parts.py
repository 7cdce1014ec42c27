"""Times a pretraining step, its separately jitted parts, an epoch, and feature extraction, in seconds."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flops import count, processor_seconds, seconds
from ml_collections import ConfigDict

from dmlp_jax.contrastive import features, moco, simclr
from dmlp_jax.contrastive.losses import nt_xent
from dmlp_jax.contrastive.method import Pretraining, make_model, make_views
from dmlp_jax.data import augment
from dmlp_jax.models import registry
from dmlp_jax.runtime import timing
from dmlp_jax.training import dispatch, learning_rates, loop, parallel
from dmlp_jax.training.contrast import info_nce, unit_rows
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import LoopOptions
from dmlp_jax.training.session import Session
from dmlp_jax.training.state import apply_gradients, make_optimizer

METHODS: dict[str, Callable[[ConfigDict], Pretraining]] = {"simclr": simclr.make, "moco": moco.make}
KEY = jax.random.key


class Task(NamedTuple):
    """What is measured, and how often.

    Attributes:
        settings: of `pretrain`.
        images: [n, h, w, channels], uint8.
        repeats: measurements that each median is of.
        calls: of a part in each of them.
    """

    settings: ConfigDict
    images: np.ndarray
    repeats: int
    calls: int

    def measure(self, function: Callable, *arguments: Any) -> float:
        """Median seconds of `function(*arguments)`."""
        return seconds(lambda: function(*arguments), self.repeats, self.calls)

    def measure_chain(self, function: Callable, state: Any, *arguments: Any) -> float:
        """Median seconds of `state -> function(state, *arguments)`, whose first argument is donated."""
        latest = jax.tree.map(jnp.copy, state)

        def call():
            nonlocal latest
            latest = function(latest, *arguments)
            return latest

        return seconds(call, self.repeats, self.calls)


def share_of(settings: ConfigDict, devices: int) -> ConfigDict:
    """The settings of one device's share of the batch."""
    own = settings.copy_and_resolve_references()
    own.batch_size //= devices
    own.norm_groups = max(1, own.norm_groups // devices)
    return own


def forward_of(settings: ConfigDict) -> Callable[..., tuple[jax.Array, Any]]:
    """`(params, stats, images) -> (projections, stats)` in training mode, as the step has it."""
    model = make_model(settings)

    def plain(params, stats, images):
        variables = {"params": params, "batch_stats": stats}
        projections, updates = model.apply(variables, images, True, mutable=["batch_stats"])
        return projections, updates["batch_stats"]

    def grouped(params, stats, images):
        return moco.grouped(settings, params, stats, images, settings.norm_groups, None)

    return grouped if settings.method == "moco" else plain


def model_flops(settings: ConfigDict, shape: tuple[int, ...]) -> int:
    """Operations of the network's passes over both views of one image of `shape`, cropped if so configured.

    A backward pass counts as two forward ones. SimCLR takes both views forward and back, MoCo one of them,
    and the other only forward.
    """
    one = settings.copy_and_resolve_references()
    one.norm_groups = 1
    height, width, channels = shape
    if settings.crop_size:
        height = width = settings.crop_size
    images = jax.ShapeDtypeStruct((2, height, width, channels), jnp.float32)
    variables = jax.eval_shape(lambda key, x: make_model(one).init(key, x, True), KEY(0), images)
    both = count(forward_of(one), variables["params"], variables["batch_stats"], images)
    return 2 * both if settings.method == "moco" else 3 * both


def parts(task: Task) -> dict[str, float]:
    """Seconds of 'views', 'forward', 'backward', 'loss', 'optimizer' and of the 'network' step on one device.

    'network' is the whole update on fixed views. A forward pass that must keep its activations takes longer
    than the one measured; 'backward' is what both take together less 'forward'.
    """
    settings, size, pair = task.settings, task.settings.batch_size, task.settings.method == "moco"
    method = METHODS[settings.method](settings)
    state = method.init(KEY(0), task.images)
    network = method.network(state)
    make_pair, forward = make_views(settings), forward_of(settings)

    @jax.jit
    def views(data, rows, key):
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(size))
        return make_pair(Batch(data[rows], keys, key, rows, jnp.float32(0), ()))

    @jax.jit
    def there_and_back(params, stats, images, direction):
        def along(params):
            projections, after = forward(params, stats, images)
            return jnp.sum(projections * direction), after

        return jax.grad(along, has_aux=True)(params)

    def optimize(states, grads, stats):
        after = apply_gradients(states["network"], grads, stats, optimizer, None, epoch=jnp.float32(0))
        if not pair:
            return {"network": after}
        share = settings.key_momentum
        keys = jax.tree.map(lambda old, new: share * old + (1 - share) * new, states["keys"], after.params)
        return {"network": after, "keys": keys}

    rows = jnp.asarray(np.random.default_rng(0).permutation(len(task.images))[:size])
    data, there = jnp.asarray(task.images), jax.jit(forward)
    first, second = views(data, rows, KEY(1))
    images = first if pair else jnp.concatenate([first, second])
    model = (network.params, network.batch_stats, images)
    projections, _ = there(*model)
    grads, stats = there_and_back(*model, projections)
    optimizer = make_optimizer(settings, learning_rates.cosine(settings))
    states = {"network": network, "keys": network.params} if pair else {"network": network}
    one_way, both_ways = task.measure(there, *model), task.measure(there_and_back, *model, projections)
    return {
        "views": task.measure(views, data, rows, KEY(1)),
        "forward": one_way * (2 if pair else 1),  # MoCo's keys go forward too.
        "backward": both_ways - one_way,
        "loss": _loss_seconds(task, projections, state),
        "optimizer": task.measure_chain(jax.jit(optimize, donate_argnums=0), states, grads, stats),
        "network": _network_seconds(task, state, first),
    }


def _loss_seconds(task: Task, projections: jax.Array, state: Any) -> float:
    """Of the loss and its gradient in the projections, as the method has them."""
    temperature = task.settings.temperature
    if task.settings.method == "moco":
        loss = jax.value_and_grad(lambda *parts: jnp.mean(info_nce(*parts, temperature)))
        return task.measure(jax.jit(loss), projections, unit_rows(projections[::-1]), state.queue.keys)
    loss = jax.value_and_grad(lambda rows: nt_xent(*jnp.split(rows, 2), temperature))
    return task.measure(jax.jit(loss), projections)


def _network_seconds(task: Task, state: Any, images: jax.Array) -> float:
    """Of the method's own step where the views are the images themselves."""
    settings = task.settings.copy_and_resolve_references()
    settings.augment = "none"
    step = METHODS[settings.method](settings).step
    keys = jax.random.split(KEY(2), len(images))

    def update(state, images, keys):
        batch = Batch(images, keys, keys[0], jnp.arange(len(images)), jnp.float32(0), ())
        return step(state, batch, axis_name=None)[0]

    return task.measure_chain(jax.jit(update, donate_argnums=0), state, images, keys)


def whole(task: Task, devices: list[jax.Device]) -> tuple[float, float, float]:
    """Of a step in the training loop's dispatch: seconds, those of compiling it, and processor seconds."""
    method = METHODS[task.settings.method](task.settings)
    update = dispatch.mapped(method.step, devices)
    steps = dispatch.steps_per_call(devices[0].platform, streamed=False)
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(len(task.images))[: task.settings.batch_size] for _ in range(steps)])
    ((indices, shared),) = dispatch.pieces(Plan(rows), 0, KEY(3), steps)
    chosen = parallel.shard((indices, None), devices)  # No rows are fetched: all images are on the device.
    data = parallel.replicate(task.images, devices)
    state = parallel.replicate(jax.tree.map(np.asarray, method.init(KEY(0), task.images)), devices)

    def call():
        nonlocal state
        state, _ = update(state, data, chosen, shared)
        return state

    with timing.stopwatch() as spent:
        call()
    return (
        seconds(call, task.repeats) / steps,
        spent["compile"],
        processor_seconds(call, task.repeats) / steps,
    )


class _Clock:
    """Takes the place of the metrics' log: notes when each epoch's metrics were there."""

    def __init__(self):
        self.times = []

    def rewind(self, stage: str, step: int) -> None:
        """Starts the first epoch."""
        del stage, step
        self.times = [time.perf_counter()]

    def write(self, stage: str, step: int, values: dict[str, Any]) -> None:
        """Ends an epoch."""
        del stage, step, values
        self.times.append(time.perf_counter())


def epoch(task: Task, devices: list[jax.Device], epochs: int) -> float:
    """Median seconds of an epoch of the training loop itself, the first and the last one left out."""
    method, clock = METHODS[task.settings.method](task.settings), _Clock()
    with TemporaryDirectory() as folder:
        size = task.settings.batch_size
        options = LoopOptions("pretrain", epochs + 2, size, 10**6, Path(folder) / "state")
        state = method.init(KEY(0), task.images)
        loop.fit(method.step, state, task.images, options, Session(devices, clock, 1e9), key=KEY(4))
    return float(np.median(np.diff(clock.times)[1:-1]))


def extraction(task: Task, batch_size: int) -> tuple[float, float]:
    """Images per second of `features.extract`, host to host, and of the bare forward pass on the device."""
    settings = task.settings
    encoder = registry.make_encoder(settings.model, stem=settings.stem, dtype=settings.dtype)
    batch_size = min(batch_size, len(task.images))
    images = augment.to_float(jnp.asarray(task.images[:batch_size]))
    variables = jax.jit(encoder.init, static_argnums=2)(KEY(0), images[:2], False)
    apply = jax.jit(lambda variables, images: encoder.apply(variables, images, False))
    bare = batch_size / task.measure(apply, variables, images)
    extract = lambda: features.extract(encoder, variables, task.images, batch_size)  # noqa: E731
    return len(task.images) / seconds(extract, min(task.repeats, 5)), bare


def parameters(settings: ConfigDict, shape: tuple[int, ...]) -> int:
    """Parameters of encoder and projection head."""
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    variables = jax.eval_shape(lambda key, x: make_model(settings).init(key, x, True), KEY(0), images)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
