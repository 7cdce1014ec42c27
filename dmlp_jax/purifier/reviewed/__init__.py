"""Learns from reviewed rows what a given label is worth beside the features.

People make mistakes that depend on the row: they confuse what is hard to tell apart. A classifier that is
trained on their labels makes the same mistakes, agrees with them, and concludes that there are none. Clean
rows whose given label is known break the circle: they show how often each is right where the two disagree.

The files:

    schedule.py      the rounds, and the outcome
    label_model.py   p(true class | features, given label): evidence and its weights
    averaging.py     the average with the labels of the default rounds
    evidence.py      the noise rate and the pattern of mistakes, from counts
    kernel.py        kernel features of ridge regression
    class_maps.py    linear discriminant analysis of ridge scores
"""
