import sys
import types

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.interop import add_to_fiftyone
from tests.interop.tables import table_of_three


class Dataset:
    """The part of a FiftyOne dataset that is used, as documented."""

    def __init__(self, count):
        self.count, self.values = count, {}

    def __len__(self):
        return self.count

    def set_values(self, field_name, values):
        assert len(values) == self.count
        self.values[field_name] = values


@pytest.fixture(autouse=True)
def library(monkeypatch):
    """A stand-in: FiftyOne brings a database server."""
    fiftyone = types.ModuleType("fiftyone")
    fiftyone.Classification = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "fiftyone", fiftyone)


def test_fields_are_in_the_order_of_the_data():
    dataset = Dataset(3)
    add_to_fiftyone(dataset, table_of_three())
    assert [value.label for value in dataset.values["purified"]] == ["cat", "dog", "owl"]
    assert [value.confidence for value in dataset.values["purified"]] == [0.8, 0.9, 0.9]
    assert dataset.values["label_quality"] == [0.8, 0.9, 0.1]


def test_another_number_of_samples():
    with pytest.raises(UserError, match="2 samples but the table has 3 rows"):
        add_to_fiftyone(Dataset(2), table_of_three())
