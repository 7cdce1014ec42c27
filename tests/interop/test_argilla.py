import sys
import types

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.interop import argilla_records
from tests.interop.tables import TEXTS, table_of_three


@pytest.fixture
def library(monkeypatch):
    """Argilla where it is installed, else a stand-in with its documented signatures."""
    try:
        import argilla
    except ImportError:

        class Suggestion:
            def __init__(self, question_name, value, score=None, agent=None):
                self.question_name, self.value, self.score, self.agent = question_name, value, score, agent

        class Record:
            def __init__(self, id=None, fields=None, metadata=None, suggestions=None):
                self.id, self.fields, self.metadata = id, fields, metadata
                self.suggestions = suggestions

        argilla = types.ModuleType("argilla")
        argilla.Suggestion, argilla.Record = Suggestion, Record
        monkeypatch.setitem(sys.modules, "argilla", argilla)
    return argilla


def test_records(library):
    records = argilla_records(table_of_three(), {"text": TEXTS}, count=2)
    assert [record.id for record in records] == ["x2", "x0"]
    assert dict(records[0].fields) == {"text": "an owl"}
    assert dict(records[0].metadata) == {"row": 2, "given_label": "dog", "label_quality": 0.1}
    suggestion = next(iter(records[0].suggestions))
    assert (suggestion.question_name, suggestion.value, suggestion.score) == ("label", "owl", 0.9)


def test_a_field_that_is_too_short(library):
    with pytest.raises(UserError, match=r"fields\['text'\] has 1 entries but there is a row 2"):
        argilla_records(table_of_three(), {"text": ["one"]})
