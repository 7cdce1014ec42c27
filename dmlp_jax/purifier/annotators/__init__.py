"""Labels rows that several annotators labelled, by their votes and the features.

The files:

    schedule.py     the rounds, and the outcome
    fit.py          fits the model's numbers to clean rows and held-out votes
    held_out.py     the sample of rows whose votes are held out
    arguments.py    checks
    vote_model.py   p(true class | features, votes): evidence and its weights
    noise.py        the transition matrix of each annotator
    votes.py        votes as arrays: majority, shares, counts, log-likelihoods
"""
