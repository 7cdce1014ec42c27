import dataclasses

import numpy as np
import pytest

from dmlp_jax import PurifyConfig, purify
from tests.conftest import accuracy

PAPER = PurifyConfig.paper(steps=45, ipc_batch_size=100, eac_batch_size=50)


def test_paper_preset_writes_labels_every_period(blobs):
    features, given, val, true = blobs
    config = dataclasses.replace(PAPER, keep_label_history=True, ipc=False)
    history = np.asarray(purify(features, given, val, config=config).history["labels"])
    moves = np.flatnonzero((history[1:] != history[:-1]).any(axis=1)) + 1
    assert set(moves) <= {20, 40}
    assert 20 in moves
    assert accuracy(history[-1], true) > accuracy(given, true)
    np.testing.assert_array_equal(history[:20], np.broadcast_to(given, (20, 300)))


@pytest.mark.slow
def test_paper_preset_without_eac_never_writes(blobs):
    features, given, val, _ = blobs
    config = dataclasses.replace(PAPER, eac=False)
    found = purify(features, given, val, config=config)
    # Eq. 7 with alpha_I = .01 moves labels by far less than the distance between two classes.
    assert not np.any(found.changed)
    assert np.abs(np.asarray(found.probs) - np.eye(3)[given]).max() > 0
