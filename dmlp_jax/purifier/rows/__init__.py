"""How rows are held and read.

The files:

    scaling.py     centred rows of one length, and the linear classifier with this scaling
    chunks.py      training rows in chunks, with sums and maps over them
    loading.py     training rows without outliers and copies, standardised, in chunks
    copies.py      training rows that are copies of clean rows
    outliers.py    values far beyond all others, which count as missing
    disk.py        features on disk, read chunk by chunk from inside a compiled program
    clean_set.py   clean rows in folds, and held-out predictions for them
    span.py        rows of more columns than rows, rotated into their span
    reviews.py     what the noisy source gave to the clean rows, and how these were picked
"""
