"""Numerics that both schedules use.

The files:

    ridge.py         Eq. 4-5: ridge regression in closed form
    few_rows.py      a few weighted rows added to a ridge regression
    nesterov.py      preconditioned Nesterov steps of softmax regression
    temperature.py   the temperature that calibrates held-out predictions
    conditional_logit.py  a few numbers that weigh evidence for classes, with a lapse rate
    scores.py        held-out cross-entropy and accuracy, expected scores, the significance test
    masked.py        means over rows of which some are padding
    reliability.py   accuracy by bins of confidence
    roots.py         bisection and Newton's method inside traced programs
    pytrees.py       helpers for trees of arrays
    settings.py      settings as frozen dataclasses that are pytrees
    errors.py        InputError
    forked.py        refuses to run where a fork has left JAX without its threads
"""
