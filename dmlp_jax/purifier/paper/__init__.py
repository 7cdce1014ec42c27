"""The paper's own schedule, Eq. 4-9 as printed.

The files:

    schedule.py   epochs over the training rows: batches, ridge inverses, label writes
    epoch.py      one epoch: IPC and EAC steps slice by slice; `write`, the momentum write of Eq. 9
    ipc.py        Eq. 6-7: validation loss of a labelling, its gradient in the labels (Eq. 4-5: base/ridge.py)
    eac.py        Eq. 8-9: the classifier's loss, Adam's step, the label write
    config.py     settings, `PurifyConfig.paper()`
"""
