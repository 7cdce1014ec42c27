"""Sets reviewed rows aside, so that `accept` can count wrong labels among rows that chose nothing.

A calibration row leaves the clean set and joins the training rows with the label that it was given. So the
purifier treats it as any training row, and its returned label is as likely wrong as theirs; only afterwards
is it compared with the true label. Rows that were drawn at random and whose label before review is known can
be calibration rows.

The files:

    draw.py      which clean rows are set aside
    move.py      moves them to the training rows, before the program runs
    collect.py   takes them out of its result, and puts what `accept` needs into it
"""
