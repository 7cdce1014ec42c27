"""The table of confused classes."""

import numpy as np

from dmlp_jax.report import confusion_table


def test_cells_count_all_rows_and_those_that_are_listed():
    rng = np.random.default_rng(0)
    given, purified = rng.integers(3, size=(2, 200))
    listed = rng.permutation(200)[:50]
    table = confusion_table.cells(given, purified, listed, ("a", "b" * 40, "c\nd"))
    assert [line["name"] for line in table] == ["a", "b" * 23 + "…", "c d"]
    for of, line in enumerate(table):
        total = np.sum(purified == of)
        for taken, cell in enumerate(line["cells"]):
            pair = (purified == of) & (given == taken)
            assert (cell["given"], cell["purified"]) == (taken, of)
            assert (cell["rows"], cell["listed"]) == (pair.sum(), pair[listed].sum())
            assert cell["share"] == 100 * pair.sum() / total
            assert cell["lower"] < cell["share"] < cell["upper"]
            assert cell["shade"] == np.ceil(9 * pair.sum() / total)


def test_an_empty_class_has_no_interval_and_many_classes_no_table():
    labels = np.zeros(5, int)
    table = confusion_table.cells(labels, labels, np.arange(5), ("a", "b"))
    assert [line["cells"][0]["interval"] for line in table] == [True, False]
    names = tuple(map(str, range(confusion_table.CLASSES + 1)))
    assert confusion_table.cells(labels, labels, np.arange(5), names) is None
