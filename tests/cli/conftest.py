import numpy as np
import pytest

from dmlp_jax.cli import command
from tests.cli.kit import FEATURES, GIVEN, NAMES, TRUE, VAL_FEATURES, VAL_LABELS, basic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as users have them."""
    root = tmp_path_factory.mktemp("files")
    np.save(root / "f.npy", FEATURES)
    np.save(root / "y.npy", GIVEN)
    np.save(root / "v.npy", VAL_FEATURES)
    np.save(root / "w.npy", VAL_LABELS)
    np.savez(
        root / "e.npz",
        features=FEATURES,
        labels=GIVEN,
        val_features=VAL_FEATURES,
        val_labels=VAL_LABELS,
        true_labels=TRUE,
        class_names=NAMES,
    )
    (root / "names.txt").write_text("\n".join(NAMES[GIVEN]) + "\n")
    (root / "true.txt").write_text("\n".join(NAMES[TRUE]) + "\n")
    # Three rows of each class, far from in order.
    clean = np.concatenate([np.flatnonzero(label == TRUE)[-20:] for label in range(3)])[::-1]
    (root / "clean.txt").write_text("\n".join(map(str, clean)) + "\n")
    (root / "clean_true.txt").write_text("\n".join(NAMES[TRUE[clean]]) + "\n")
    return root


@pytest.fixture(scope="module")
def done(folder):
    """One run on .npy files."""
    out = folder / "out"
    assert command.main([*basic(folder), "--out", str(out)]) == 0
    return out
