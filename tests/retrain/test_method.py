import jax
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain import method, recipes
from tests.retrain import helpers

TABLE = ((0.0, 1.0), (0.25, 7.0), (0.75, 150.0))


@pytest.mark.parametrize(
    ("noise_rate", "expected"),
    [(0.0, 1.0), (0.2499, 1.0), (0.25, 7.0), (0.7499, 7.0), (0.75, 150.0), (1.0, 150.0)],
)
def test_value_by_noise_is_that_of_the_last_bound_reached(noise_rate, expected):
    assert method.by_noise("lambda_u", TABLE, noise_rate) == expected


def test_every_bound_of_the_recipes_begins_a_value():
    tables = [
        value
        for classes in (10, 100)
        for recipe in recipes.cifar(classes, False).values()
        for value in recipe.values()
        if isinstance(value, tuple) and value and isinstance(value[0], tuple)
    ]
    assert tables
    for table in tables:
        starts = [start for start, _ in table]
        assert starts == sorted(set(starts))
        assert starts[0] == 0.0
        for index, (start, value) in enumerate(table):
            assert method.by_noise("x", table, start) == value
            if index:
                assert method.by_noise("x", table, np.nextafter(start, 0)) == table[index - 1][1]


@pytest.mark.parametrize("noise_rate", [None, 0.9])
def test_plain_number_does_not_depend_on_the_noise(noise_rate):
    for value in (25, 0.5):
        found = method.by_noise("lambda_u", value, noise_rate)
        assert found == value
        assert isinstance(found, float)


def test_value_by_noise_needs_a_noise_rate():
    with pytest.raises(UserError, match=r"lambda_u depends on it.*retrain\.noise_rate="):
        method.by_noise("lambda_u", TABLE, None)


@pytest.mark.parametrize("name", ["co_teaching", "co_teaching_plus", "cdr"])
def test_unknown_noise_rate_is_refused_where_it_is_needed(name):
    with pytest.raises(UserError, match=r"retrain\.noise_rate="):
        helpers.make(helpers.settings(name), helpers.training_set(noise_rate=None))


@pytest.mark.parametrize("name", ["elr", "elr_plus"])
def test_unknown_noise_rate_does_no_harm_elsewhere(name):
    helpers.make(helpers.settings(name), helpers.training_set(noise_rate=None))


@pytest.mark.parametrize("name", ["elr", "elr_plus", "co_teaching", "cdr"])
def test_keys_alone_decide_what_a_step_does(name):
    train = helpers.training_set()

    def start_and_step():
        made, state = helpers.make(helpers.settings(name), train)
        return made, state, helpers.step(made, state, train, range(8), epoch=7.0)

    made, state, first = start_and_step()
    helpers.assert_same(first, start_and_step()[2])
    differ = jax.tree.map(lambda a, b: (a != b).any(), state, made.init(jax.random.key(1), train))
    assert any(jax.tree.leaves(differ))


@pytest.mark.parametrize("value", [150, 150.0, (150,), (150.0,)])
def test_plain_numbers_hold_at_every_noise_rate(value):
    assert method.by_noise("lambda_u", value, None) == 150.0


@pytest.mark.parametrize("value", [(0.0, 25.0), ((0.1, 25.0),), ((0.0, 1.0, 2.0),), ()])
def test_value_that_is_neither_number_nor_pairs_is_refused(value):
    with pytest.raises(UserError, match=r"lambda_u is .* such as"):
        method.by_noise("recipes.dividemix.lambda_u", value, 0.5)


@pytest.mark.parametrize("name", ["naive-soft", "Naive", "", "a b"])
def test_name_that_folders_cannot_hold_is_refused(name):
    with pytest.raises(ValueError, match="lower-case"):
        method.register(name)
