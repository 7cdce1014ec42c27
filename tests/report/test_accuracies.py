import pytest

from dmlp_jax.report import accuracies
from tests.report.test_page import make_result

KNOWN = {"random_rows": 200, "given_random_rows": 150, "given_known": 180}


def counted(**changes):
    values = {**make_result()["held_out"], "given": 0.7}
    return make_result(held_out=values, rows={"train": 900, "val": 220, "test": 0}, counted=KNOWN, **changes)


def test_an_accuracy_stands_with_its_standard_error_and_rows():
    scores = {"purified": {"standard_error": 0.026}}
    assert accuracies.claim(counted(scores=scores), "purified") == "90.0 % ± 2.6 % on 200 reviewed rows"
    # Given labels are counted where they are known.
    assert accuracies.claim(counted(), "given").endswith("on 150 reviewed rows")
    assert accuracies.claim(counted(source="given"), "purified").endswith("on 150 reviewed rows")
    drawn = counted(drawn={"noise_rate": 0.1})
    assert accuracies.claim(drawn, "noisy_probe").endswith("on 200 rows that were drawn as clean")


def test_files_without_a_standard_error_have_that_of_all_clean_rows():
    """By Agresti and Coull's formula."""
    middle = (0.9 * 3 + 2) / 7
    assert accuracies.cell(make_result(), "noisy_probe").startswith("70.0 % ±")
    assert accuracies.standard_error(make_result(), "purified") == pytest.approx(
        (middle * (1 - middle) / 7) ** 0.5
    )


def test_what_is_not_counted_is_said():
    result = make_result()
    assert accuracies.cell(result, "purified") == "90.0 % expected"
    assert accuracies.cell(result, "given") == "not counted"
    assert accuracies.cell(result, "true") == "-"
    # Labels of a probe do not depend on given labels, so their accuracy is counted.
    assert accuracies.cell(result | {"source": "noisy_probe"}, "purified").startswith("90.0 % ±")
    # Given labels are known, but of picked rows only.
    picked = make_result(counted=KNOWN | {"given_random_rows": 0})
    assert accuracies.cell(picked, "purified").startswith("90.0 % ±")
