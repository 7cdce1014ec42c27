"""The recommended schedule: posterior writes, small preconditioned classifier steps, held-out selection.

One round of a candidate, on the full batch with soft labels:

    P_i = softmax of F_i W as if row i had not been trained on         the classifier's prediction
    Q_i ~ P_i * T[:, given_i]                                          EAC writes the posterior, Eq. 9
    Y <- Q - alpha_I dL_val / dQ, back onto the simplex                IPC through the ridge solve, Eq. 6-7
    W <- a Nesterov step on sum CE(Y, F W) + val_weight * clean rows + L2      EAC learns, Eq. 8
    T <- normalised soft counts of Q against the given labels

Without IPC this is expectation maximisation of the likelihood of the given labels and the clean rows, one
preconditioned gradient step per M-step (as in Bekker and Goldberger 2016). The leave-one-out prediction is
what makes it work: a prediction that has seen its own label agrees with it, the posterior counts the label
twice, T turns sharper than the truth and the classifier ends up memorising.

A round keeps no state per training row, so everything in it is a sum over rows. Every candidate runs once
without each fold of the clean set and once with all of it, side by side by vmap. What the fold members say
about the rows that they did not see chooses the candidate and the round; the member that saw all of them
supplies the classifier of that round.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import eac, ipc, leverage, ridge, selection, transition
from dmlp_jax.purifier.baselines import CleanSet, Probe
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.ridge import RidgeFactor, matmul
from dmlp_jax.purifier.state import Candidate, Member, Shared, Snapshot, Training


def run(
    train: Training, clean: CleanSet, start: Probe, config: PurifyConfig
) -> tuple[Snapshot, Snapshot, dict[str, jax.Array]]:
    """Runs every candidate for `config.steps` rounds.

    Args:
        train: the training rows.
        clean: the clean rows and their folds.
        start: the probe to start from, one member per fold and one for all clean rows.
        config: the settings.

    Returns:
        The candidates at their last round and at their round of least held-out cross-entropy, leaves
        [s, ...], and their history, arrays [steps, s, ...].
    """
    shared = _share(train, clean, config)
    settings = _candidates(config)
    parts, order = [], []
    for with_ipc in (False, True):
        chosen = [i for i, s in enumerate(settings) if (s.label_lr is not None) == with_ipc]
        if chosen:
            group = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(settings[i] for i in chosen))
            parts.append(_run_group(train, clean, start, group, shared, config))
            order += chosen
    lasts, bests, histories = zip(*parts, strict=True)
    back = jnp.argsort(jnp.asarray(order))

    def merge(snapshots):
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[back], *snapshots)

    history = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1)[:, back], *histories)
    return merge(lasts), merge(bests), history


def transition_of(weights: jax.Array, train: Training) -> jax.Array:
    """Transition matrix [c, c] from the predictions of a classifier [d, c]."""
    probs = jax.nn.softmax(matmul(train.features, weights))
    return transition.transition_matrix(transition.soft_counts(probs, train.given, train.weight))


def _candidates(config: PurifyConfig) -> list[Candidate]:
    """The candidates of a config; a tuple of length 1 serves all of them."""
    columns = (config.weight_decay, config.val_weight, config.label_lr)
    count = max(len(column) for column in columns)
    rows = zip(*(column * count if len(column) == 1 else column for column in columns), strict=True)

    def scalar(value):
        return None if value is None else jnp.asarray(value, jnp.float32)

    return [
        Candidate(scalar(weight_decay), scalar(val_weight), scalar(label_lr if config.ipc else None))
        for weight_decay, val_weight, label_lr in rows
    ]


def _share(train: Training, clean: CleanSet, config: PurifyConfig) -> Shared:
    gram = ridge.gram(train.features, train.weight)
    unit = ridge.mean_eigenvalue(gram)
    factor = ridge.factor(gram, config.ridge_penalty * unit)
    label_unit = 1.0 / ipc.curvature(gram, factor, clean.features)
    gram_val = ridge.gram(clean.features)
    return Shared(gram, gram_val, jnp.linalg.eigvalsh(gram), factor, label_unit)


def _run_group(
    train: Training,
    clean: CleanSet,
    start: Probe,
    candidates: Candidate,
    shared: Shared,
    config: PurifyConfig,
) -> tuple[Snapshot, Snapshot, dict[str, jax.Array]]:
    """Runs candidates (leaves [s]) that all use IPC or all do not; see `run`."""

    def bound(candidate):
        decay = _decay(candidate, train)
        return eac.preconditioner(shared.gram, shared.gram_val, candidate.val_weight, decay)

    bounds = jax.vmap(bound)(candidates)

    def member_round(member, mask, temperature, candidate, bound, step):
        return _member_round(member, mask, temperature, candidate, bound, step, train, clean, shared, config)

    over_members = jax.vmap(member_round, in_axes=(0, 0, None, None, None, None))
    over_snapshots = jax.vmap(_observe, in_axes=(0, 0, None, None))
    over_candidates = jax.vmap(over_members, in_axes=(0, None, 0, 0, 0, None))

    def body(carry, step):
        members, temperatures, _, bests = carry
        members, posterior, shares = over_candidates(
            members, clean.masks, temperatures, candidates, bounds, step
        )
        lasts, temperatures, scores = over_snapshots(members, shares[:, -1], clean, step + 1)
        better = lasts.loss < bests.loss
        bests = jax.vmap(_either)(better, lasts, bests)
        labels = jnp.argmax(posterior[:, -1], axis=-1)
        changed = labels != jnp.argmax(train.given, axis=-1)
        scores["changed"] = jnp.sum(changed * train.weight, axis=-1) / jnp.sum(train.weight)
        if config.keep_label_history:
            scores["labels"] = labels.astype(jnp.uint8 if train.given.shape[1] <= 256 else jnp.int32)
        return (members, temperatures, lasts, bests), scores

    transitions = jax.vmap(transition_of, in_axes=(0, None))(start.weights, train)
    optimizer = jax.vmap(eac.init_nesterov)(start.weights)
    response = jax.vmap(lambda _: eac.init_nesterov(jnp.zeros_like(shared.spectrum)))(transitions)
    first = Member(optimizer, response, transitions)
    snapshot = Snapshot(
        start.score.cross_entropy,
        jnp.int32(0),
        start.weights[-1],
        jnp.float32(0),
        first.transition[-1],
        start.held_out,
    )
    count = candidates.val_weight.shape[0]
    carry = (first, jnp.float32(1.0), snapshot, snapshot)
    carry = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), carry)
    (_, _, lasts, bests), history = jax.lax.scan(body, carry, jnp.arange(config.steps, dtype=jnp.int32))
    return lasts, bests, history


def _either(first: jax.Array, a: Snapshot, b: Snapshot) -> Snapshot:
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), a, b)


def _decay(candidate: Candidate, train: Training) -> jax.Array:
    """Absolute L2 strength of the classifier."""
    return candidate.weight_decay * train.features.shape[1]


def _member_round(
    member: Member,
    mask: jax.Array,
    temperature: jax.Array,
    candidate: Candidate,
    bound: RidgeFactor,
    step: jax.Array,
    train: Training,
    clean: CleanSet,
    shared: Shared,
    config: PurifyConfig,
) -> tuple[Member, jax.Array, jax.Array]:
    """One round of one member on clean rows `mask` [m]; returns its posterior [n, c] and leverage too."""
    lookahead = member.optimizer.lookahead
    decay = _decay(candidate, train)
    logits = matmul(train.features, lookahead)
    probs = jax.nn.softmax(logits)
    seen = transition.posterior(probs, member.transition, train.given)
    information = leverage.fisher(probs, seen, train.weight)
    share = leverage.of(member.response.lookahead, information, shared.spectrum, train.weight)
    posterior = write(logits, share, temperature, member.transition, train, config)
    labels = posterior
    if candidate.label_lr is not None:
        gradient = ipc.label_gradient(
            labels, train.features, train.weight, shared.ridge, clean.features, clean.targets, mask,
            config.entropy_weight,
        )  # fmt: skip
        # The loss is a mean of squares: times half the rows it has the curvature that sets the unit.
        length = candidate.label_lr * config.label_lr_decay**step * shared.label_unit
        labels = ipc.to_simplex(labels - 0.5 * jnp.sum(mask) * length * gradient)

    probs_val = jax.nn.softmax(matmul(clean.features, lookahead))
    gradient = (
        eac.cross_entropy_gradient(train.features, probs, labels, train.weight)
        + candidate.val_weight * eac.cross_entropy_gradient(clean.features, probs_val, clean.targets, mask)
        + decay * lookahead
    )
    counts = transition.soft_counts(posterior, train.given, train.weight)
    member = Member(
        eac.nesterov_step(member.optimizer, gradient, bound),
        leverage.respond(member.response, information, shared.spectrum, decay),
        transition.transition_matrix(counts),
    )
    reached = leverage.of(member.response.weights, information, shared.spectrum, train.weight)
    return member, posterior, reached


def write(
    logits: jax.Array,
    share: jax.Array,
    temperature: jax.Array,
    noise: jax.Array,
    train: Training,
    config: PurifyConfig,
) -> jax.Array:
    """The labels that EAC writes, [n, c]: the posterior of the leave-one-out prediction.

    Args:
        logits: of the classifier on the training rows, [n, c].
        share: leverage of a row, see `leverage.py`.
        temperature: divides the logits, so that the prediction is calibrated when it meets the noise.
        noise: transition matrix [c, c].
        train: the training rows.
        config: the settings.
    """
    probs = jax.nn.softmax(logits)
    if not config.posterior:
        return probs
    pull = probs - transition.posterior(probs, noise, train.given)
    prior = jax.nn.softmax((logits + share * pull) / temperature)
    return transition.posterior(prior, noise, train.given)


def _observe(
    members: Member, share: jax.Array, clean: CleanSet, step: jax.Array
) -> tuple[Snapshot, jax.Array, dict[str, jax.Array]]:
    """Snapshot, temperature and scores of a candidate, from its members (leaves [k + 1, ...])."""
    weights = members.optimizer.weights
    logits = matmul(clean.features, weights)
    held_out = selection.held_out_logits(logits[:-1], clean.folds)
    score = selection.score(held_out, clean.targets)
    snapshot = Snapshot(score.cross_entropy, step, weights[-1], share, members.transition[-1], held_out)
    scores = {
        "held_out_loss": score.cross_entropy,
        "held_out_accuracy": score.accuracy,
        "val_loss": selection.cross_entropy(logits[-1], clean.targets),
    }
    return snapshot, selection.fit_temperature(held_out, clean.targets), scores
