"""Tables as files, for tests."""

import numpy as np
import pytest

pandas = pytest.importorskip("pandas")


def frame(rows=12, width=3, seed=0):
    rng = np.random.default_rng(seed)
    columns = {f"emb_{i}": rng.normal(size=rows).astype(np.float32) for i in range(width)}
    return pandas.DataFrame({**columns, "label": ["cat", "dog", "NA"] * (rows // 3)})


def write(frame, path, **options):
    frame.to_csv(path, index=False, **options)
    return path


def matrix(frame, width=3):
    return frame[[f"emb_{i}" for i in range(width)]].to_numpy(np.float32)
