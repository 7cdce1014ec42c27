"""The default schedule: expectation maximisation over the true labels, with leave-one-out predictions.

The files, from the table of contents down:

    schedule.py             table of contents: race, refinement, separation of errors, held-out score
    race.py                 candidates of different L2 strength; which of them, and which round, is taken
    em.py                   one round: e_step.py, m_step.py, and the held-out scores
    e_step.py               posterior of every label: LabelModel, leave_one_out_probs, bayes
    m_step.py               the classifier's step and the next T (transition.py)
    leave_one_out.py        how far a row's own label has moved its prediction
    temperature_evidence.py what the given labels tell of the temperature (fitted in base/temperature.py)
    label_shift.py          clean rows whose class shares differ from the training rows'
    lda.py                  average with linear discriminant analysis after the rounds
    classifier_errors.py    S of the classifier apart from T' of the labels; what the labels are written by
    held_out.py             how the final labels do on held-out clean rows
    ipc_step.py             Eq. 6-7 inside a round, off by default
    candidates.py           loops over the candidates that still run
    state.py, config.py     containers and settings
"""
