"""Repairs wrong training labels with a small clean set: `purify` and everything below it.

Imports numpy, jax and optax only; likely_clean.py also scipy.

Files and folders:

    purify.py       the function for users; arguments.py checks, compiled.py and sharded.py run the program
    padding.py      fills up rows to one of a few sizes, for which programs are compiled
    calibration/    sets reviewed rows aside        accept.py        labels at a stated risk
    checks.py, label_checks.py  checks of arguments  config.py   settings of both schedules
    program.py      the whole computation, one traced function: probes, a schedule, the choice
    probes.py       the trivial baselines            choose.py   which labels are returned
    result.py       `PurifyResult`                   likely_clean.py  draws a clean set from noisy rows
    suggest.py      `suggest`: which rows to review next, or first
    diagnostics.py  numbers about the arguments      warnings.py      sentences made of them
    posterior/      the default schedule             paper/      the paper's own, Eq. 4-9
    reviewed/       after the default schedule: what a given label is worth, learned from reviewed rows
    annotators/     instead of both, where several annotators labelled each row
    rows/           how rows are scaled, cut into chunks, read from disk, split into folds,
                    rotated into their span
    base/           numerics that both schedules use

The default algorithm (`PurifyConfig()`), by the names of its functions:

    probes = fit_probes(...)                              # probes.py: clean rows only, noisy labels, both
    for each round of race.run:                           # candidates of different L2 strength race
        run_round(...)                                    # em.py: one round, which is
            predict_clean, fit_temperature                # calibration: clean rows, temperature_evidence.py
            leave_one_out_probs(model, rows)              # e_step.py: P, without the row's own label
            bayes(P, likelihood_of_given(T, rows))        # e_step.py: Q ~ P T[:, given], the labels written
            update(classifiers, ...)                      # m_step.py: Nesterov step towards Q; the next T
    refine(fitted, ...)                                   # lda.py: averages with LDA where that helps
    with `val_given_labels`, `reviewed.schedule.run`, four times:
        solve(F^T Q)                                      # kernel ridge regression on the labels (Eq. 4)
        fit seven numbers to reviewed rows                # conditional_logit.py (the outer loss, Eq. 6)
        posterior(model, rows)                            # label_model.py: Q, the labels
    separate_classifier_errors(fitted, clean)             # S of the classifier, T' of the labels
    with `val_given_labels`, average(default, reviewed)   # averaging.py: both labels, by the evidence
    choose(outcome, probes, ...)                          # purified, a probe's or the given labels

Where the paper's equations are:

    Eq. 4, 5   ridge regression in closed form            base/ridge.py: solve, inverse
    Eq. 6      validation loss of a labelling             paper/ipc.py: validation_loss, moment_loss
    Eq. 7      IPC: labels down its gradient              paper/epoch.py: _slice_step;
                                                          in the default schedule posterior/ipc_step.py
    Eq. 8      EAC: the classifier's loss                 paper/eac.py: classifier_loss
    Eq. 9      EAC: the momentum write into the labels    paper/eac.py: write_labels; paper/epoch.py: write;
                                                          every `eac_period` epochs: paper/schedule.py
"""

from dmlp_jax.purifier.accept import Accepted, accept
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.config import PaperConfig, PurifyConfig
from dmlp_jax.purifier.probes import PROBES
from dmlp_jax.purifier.purify import purify
from dmlp_jax.purifier.result import SOURCES, Calibration, PurifyResult
from dmlp_jax.purifier.rows.scaling import LinearClassifier, predict
from dmlp_jax.purifier.suggest import Suggestion, suggest

__all__ = [
    "PROBES",
    "SOURCES",
    "Accepted",
    "Calibration",
    "InputError",
    "LinearClassifier",
    "PaperConfig",
    "PurifyConfig",
    "PurifyResult",
    "Suggestion",
    "accept",
    "predict",
    "purify",
    "suggest",
]
