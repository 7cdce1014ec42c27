"""Labels rows that several annotators labelled, by their votes and the features.

The files:

    schedule.py     the rounds, and the outcome
    vote_model.py   p(true class | features, votes): evidence and its weights
    noise.py        the transition matrix of each annotator
    votes.py        votes as arrays: majority, shares, counts, log-likelihoods
"""
