"""Coupled meta purifiers: a network and what corrects its labels learn from each other, step by step.

The methods that the DMLP paper compares with (Tables 1 and 6). All of them train the network on labels or
weights that another model makes, and train that model on the loss of clean images after the network's next
step. Clean images serve as that meta set; see `meta_set`. What a step can do to that loss is computed in
`lookahead`.
"""
