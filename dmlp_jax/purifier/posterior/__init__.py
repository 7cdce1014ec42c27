"""The default schedule: expectation maximisation over the true labels, with leave-one-out predictions.

The files, from the top down:

    schedule.py             the order of the steps: race, refinement, separation of errors, held-out score
    race.py                 candidates of different L2 strength; which of them, and which round, is taken
    em.py                   one round: e_step.py, m_step.py, and the held-out scores
    e_step.py               posterior of every label: LabelModel, leave_one_out_probs, bayes
    m_step.py               the classifier's step and the next T (transition.py)
    leave_one_out.py        leverage: how far a row's own label has moved its prediction
    temperature_evidence.py evidence of the given labels on the temperature (fitted in base/temperature.py)
    label_shift.py          clean rows whose class shares differ from the training rows'
    lda.py                  average with linear discriminant analysis after the rounds
    classifier_errors.py    classifier errors S, label noise T', and the model that writes the final labels
    held_out.py             scores of the final labels on held-out clean rows
    ipc_step.py             Eq. 6-7 inside a round, off by default
    candidates.py           loops over the candidates that still run
    state.py, config.py     containers and settings
"""
