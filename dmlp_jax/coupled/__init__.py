"""Implements coupled meta purifiers: a network and a meta model that corrects its labels are trained in turn.

These are the methods that the DMLP paper compares with (Tables 1 and 6). All of them train the network on
labels or weights from a meta model, and train the meta model on the network's loss on clean images (the meta
set, see `meta_set`) after its next step. `lookahead` computes the gradient of that loss. MLNT looks ahead
without clean images, FaMUS with rows that it takes for clean.
"""
