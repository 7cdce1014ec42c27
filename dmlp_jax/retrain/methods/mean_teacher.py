"""Implements Mean Teacher (Tarvainen and Valpola, NeurIPS 2017): consistency with a weight average.

The teacher is the exponential moving average of the network, which also makes the predictions. As in the
authors' code it gets another view than the student, in training mode. Network, optimiser and constants are
those of the version that FixMatch's authors compare with: no second output layer, consistency on unlabelled
rows only, with a weight that rises linearly. Unlike there, the student gets the labelled and the unlabelled
rows in one pass, as in FixMatch, so that its batch statistics are those of both.
"""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.retrain.method import Method, Task, register
from dmlp_jax.retrain.methods import losses, semi_supervised
from dmlp_jax.retrain.methods.plain import agreement


@register("mean_teacher", semi_supervised.NEEDS)
def make_mean_teacher(settings: ConfigDict, task: Task) -> Method:
    """Mean Teacher with `unlabelled_weight`, `unlabelled_ramp`, `unlabelled_ratio` and `ema`; see recipes."""

    def objective(params, network, state, views, batch, axis_name):
        own_key, teacher_key = jax.random.split(batch.key)
        teacher, _ = network.train_logits(*state.average, views.unlabelled[1], teacher_key, axis_name)
        images = jnp.concatenate([views.labelled, views.unlabelled[0]])
        logits, stats = network.train_logits(params, state.network.batch_stats, images, own_key, axis_name)
        logits, student = jnp.split(logits, [len(views.labelled)])
        fit = jnp.mean(losses.cross_entropy(logits, views.targets))
        apart = jnp.mean(disagreement(student, teacher))
        rise = semi_supervised.ramp(batch.epoch / settings.epochs, settings.unlabelled_ramp)
        metrics = {"train_accuracy": agreement(logits, views.targets), "disagreement": apart}
        return fit + settings.unlabelled_weight * rise * apart, (stats, metrics)

    return semi_supervised.make(settings, task, objective, strong=False)


def disagreement(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Mean over classes of the squared difference of the probabilities, [b].

    Args:
        student: logits [b, c].
        teacher: logits [b, c]; no gradient flows through them.
    """
    target = jax.lax.stop_gradient(jax.nn.softmax(teacher))
    return jnp.mean((jax.nn.softmax(student) - target) ** 2, axis=-1)
