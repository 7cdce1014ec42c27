"""The methods' constants: complete, and those that the authors published."""

import json

import pytest

from dmlp_jax.config import apply_recipe, cifar_config, default_config, with_noise
from dmlp_jax.coupled import registry as coupled_methods  # noqa: F401  (registers them)
from dmlp_jax.retrain import method, recipes
from dmlp_jax.retrain.method import by_noise
from dmlp_jax.retrain.methods import registry  # noqa: F401  (methods registers them)
from tests.retrain.helpers import drops

SETS = {
    "small": recipes.small(),
    "cifar10 sym": recipes.cifar(10, False),
    "cifar10 asym": recipes.cifar(10, True),
    "cifar100 sym": recipes.cifar(100, False),
    "cifar100 asym": recipes.cifar(100, True),
}
NAMES = (
    "naive", "gce", "bootstrap", "elr", "elr_plus", "co_teaching", "co_teaching_plus", "cdr", "dividemix",
    "m_correction", "moit_plus", "rrl", "sel_cl_plus", "mean_teacher", "mixmatch", "fixmatch", "uda",
    "mlc", "mlc_decoupled", "mslc", "meta_weight_net", "l2r", "mslg", "ieg", "mlnt", "incv", "famus",
    "joint_optim", "pencil", "promix", "ssr", "ssr_plus",
)  # fmt: skip
# By the rate at which labels are drawn anew: lambda_u, threshold, epochs whose losses are averaged.
DIVIDEMIX = {
    10: {20: (0, 0.5, 1), 50: (25, 0.5, 1), 80: (25, 0.5, 1), 90: (50, 0.6, 5)},
    100: {20: (25, 0.5, 1), 50: (150, 0.5, 1), 80: (150, 0.5, 1), 90: (150, 0.6, 5)},
}
CASES = [(classes, percent) for classes, table in DIVIDEMIX.items() for percent in table]


def constants(recipe, noise_rate):
    return tuple(
        by_noise(name, recipe[name], noise_rate) for name in ("lambda_u", "threshold", "loss_memory")
    )


def test_every_method_of_the_package_is_looked_at_here():
    own = {name for name, make in method._METHODS.items() if make.__module__.startswith("dmlp_jax.")}
    assert own == set(NAMES)


@pytest.mark.parametrize("name", SETS)
def test_every_method_has_a_recipe_with_all_common_settings(name):
    assert set(NAMES) <= set(SETS[name])
    for chosen in NAMES:
        method.check_name(chosen)
        recipe = SETS[name][chosen]
        assert set(recipes.COMMON) <= set(recipe)
        for key, value in recipes.COMMON.items():
            assert type(recipe[key]) is type(value), (chosen, key)
        assert set(recipe) == set(recipes.small()[chosen]), chosen


@pytest.mark.parametrize("name", SETS)
def test_values_that_depend_on_the_noise_start_at_none_and_rise(name):
    for chosen, recipe in SETS[name].items():
        for key, value in recipe.items():
            if key == "lr_drops" or not isinstance(value, tuple):
                continue
            starts = [start for start, _ in value]
            assert starts == sorted(set(starts)), (chosen, key)
            assert starts[0] == 0, (chosen, key)


@pytest.mark.parametrize(("classes", "percent"), CASES)
def test_dividemix_has_the_published_constants(classes, percent):
    recipe = recipes.cifar(classes, False)["dividemix"]
    # A label drawn anew is right once in so many classes. The few clean rows lower the rate by a fiftieth.
    rate = percent / 100 * (1 - 1 / classes)
    for noise_rate in (rate, rate * 49_000 / 49_800, rate * 0.98, rate * 1.02):
        assert constants(recipe, noise_rate) == DIVIDEMIX[classes][percent]


def test_dividemix_has_no_unlabelled_loss_but_a_penalty_under_asymmetric_noise():
    recipe = recipes.cifar(10, True)["dividemix"]
    for noise_rate in (0.1, 0.2, 0.4):
        assert constants(recipe, noise_rate) == (0, 0.5, 1)
    assert recipe["confidence_penalty"]
    assert not recipes.cifar(10, False)["dividemix"]["confidence_penalty"]
    assert not recipes.small()["dividemix"]["confidence_penalty"]


@pytest.mark.parametrize(("classes", "warm_up"), [(10, 10), (100, 30)])
def test_dividemix_trains_as_published(classes, warm_up):
    recipe = recipes.cifar(classes, False)["dividemix"]
    expected = {
        "model": "preact_resnet18", "epochs": 300, "batch_size": 64, "optimizer": "momentum", "momentum": 0.9,
        "lr": 0.02, "lr_drop": 0.1, "weight_decay": 5e-4, "divide_warmup": warm_up, "lambda_u_ramp": 16,
        "sharpen": 0.5, "mixup": 4.0, "augment": "crop_flip", "schedule": "steps",
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [150]


@pytest.mark.parametrize(
    ("classes", "asymmetric", "epochs", "beta", "strength", "at"),
    [(10, False, 150, 0.7, 3, None), (10, True, 120, 0.9, 1, [40, 80]), (100, False, 150, 0.9, 7, [80, 120]),
     (100, True, 150, 0.9, 7, [80, 120])],
)  # fmt: skip
def test_elr_trains_as_published(classes, asymmetric, epochs, beta, strength, at):
    recipe = recipes.cifar(classes, asymmetric)["elr"]
    expected = {
        "model": "resnet34", "epochs": epochs, "batch_size": 128, "optimizer": "momentum", "momentum": 0.9,
        "lr": 0.02, "weight_decay": 1e-3, "elr_beta": beta, "elr_strength": strength,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    if at is None:
        assert (recipe["schedule"], recipe["lr_min"], recipe["lr_restart_epochs"]) == ("restarts", 0.001, 10)
    else:
        assert (recipe["schedule"], recipe["lr_drop"], drops(recipe)) == ("steps", 0.01, at)


@pytest.mark.parametrize(
    ("classes", "asymmetric", "epochs", "at", "beta", "strength"),
    [(10, False, 200, 150, 0.7, 3), (10, True, 200, 150, 0.9, 1), (100, False, 250, 200, 0.9, 7)],
)
def test_elr_plus_trains_as_published(classes, asymmetric, epochs, at, beta, strength):
    recipe = recipes.cifar(classes, asymmetric)["elr_plus"]
    expected = {
        "model": "preact_resnet18", "epochs": epochs, "batch_size": 128, "optimizer": "momentum",
        "momentum": 0.9, "lr": 0.02, "weight_decay": 5e-4, "schedule": "steps", "lr_drop": 0.1,
        "elr_beta": beta, "elr_strength": strength, "mixup": 1.0, "ema": 0.997,
        "elr_reweight": classes == 100,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [at]
    steps = 45_000 // 128
    assert recipe["ema_ramp"] * epochs * steps == pytest.approx(40_000)
    assert recipe["elr_ramp"] * epochs * steps == pytest.approx(40_000 if classes == 100 else 0)


@pytest.mark.parametrize(("classes", "decay", "disagree"), [(10, 80, 19), (100, 100, 4)])
def test_co_teaching_trains_as_published(classes, decay, disagree):
    for name in ("co_teaching", "co_teaching_plus"):
        recipe = recipes.cifar(classes, False)[name]
        expected = {
            "model": "cnn9", "epochs": 200, "batch_size": 128, "optimizer": "adam_switch", "lr": 1e-3,
            "weight_decay": 0.0, "schedule": "linear", "augment": "none", "forget_epochs": 10,
        }  # fmt: skip
        assert {key: recipe[key] for key in expected} == expected
        assert recipe["lr_decay_start"] * 200 == pytest.approx(decay)
    assert recipe["plus_start"] * 200 == pytest.approx(disagree)


@pytest.mark.parametrize("classes", [10, 100])
def test_cdr_trains_as_published(classes):
    recipe = recipes.cifar(classes, False)["cdr"]
    expected = {
        "model": "resnet50", "epochs": 200, "batch_size": 64, "optimizer": "momentum", "momentum": 0.9,
        "lr": 0.01, "weight_decay": 1e-3, "schedule": "steps", "lr_drop": 0.1,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [40, 80]


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize(
    ("name", "epochs", "decay", "at", "own"),
    [
        ("mlc", 120, 5e-4, [80, 100], {"meta_lr": 3e-4, "label_embedding": 128, "gradient_steps": 1}),
        ("mlc_decoupled", 120, 5e-4, [80, 100], {"meta_lr": 3e-4, "frozen_from": 70 / 120}),
        ("mslc", 120, 5e-4, [80, 100], {"model": "resnet34", "meta_lr": 1e-3, "lookahead_scale": 10}),
        ("meta_weight_net", 120, 5e-4, [80, 100], {"meta_lr": 1e-3, "meta_decay": 1e-4, "weight_width": 100}),
        ("l2r", 163, 2e-4, [81.5, 122.25], {}),
    ],
)
def test_coupled_methods_train_as_published(classes, name, epochs, decay, at, own):
    recipe = recipes.cifar(classes, False)[name]
    expected = {
        "epochs": epochs, "batch_size": 100, "optimizer": "momentum", "momentum": 0.9, "lr": 0.1,
        "weight_decay": decay, "schedule": "steps", "lr_drop": 0.1, **own,
        # The code of the first three mirrors the edges, that of L2R adds black ones.
        "augment": "crop_flip" if name == "l2r" else "reflect_flip",
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == at
    if name == "mslc":
        assert recipe["correct_start"] * epochs == pytest.approx(80)


@pytest.mark.parametrize("chosen", NAMES)
def test_recipe_fills_what_is_left_open_and_nothing_else(chosen):
    config = cifar_config("cifar10")
    config.retrain.update(method=chosen, lr=0.123, epochs=7, soft_labels=False, lr_drops=(0.1, 0.2))
    before = config.to_dict()
    filled = apply_recipe(config).retrain
    assert (filled.lr, filled.epochs, filled.soft_labels, filled.lr_drops) == (0.123, 7, False, (0.1, 0.2))
    for key, value in config.recipes[chosen].items():
        if key not in ("lr", "epochs", "soft_labels", "lr_drops"):
            assert filled[key] == value, key
    assert all(filled[key] is not None for key in recipes.COMMON)
    assert config.to_dict() == before


def test_method_of_somebody_elses_takes_the_recipe_of_naive():
    config = cifar_config("cifar10")
    config.retrain.method = "theirs"
    filled = apply_recipe(config).retrain
    assert {key: filled[key] for key in recipes.COMMON} == recipes.cifar(10, False)["naive"]
    with config.unlocked():
        config.recipes.theirs = {"lr": 0.5, "own": 3}
    filled = apply_recipe(config).retrain
    assert (filled.lr, filled.own, filled.model) == (0.5, 3, "resnet18")


@pytest.mark.parametrize("chosen", NAMES)
@pytest.mark.parametrize("config", [default_config(), cifar_config("cifar100")], ids=["digits", "cifar100"])
def test_applied_recipes_can_be_stored(config, chosen):
    config.retrain.method = chosen
    config = apply_recipe(config)
    stored = json.loads(json.dumps(config.to_dict()))["retrain"]
    assert set(stored) == set(config.retrain)
    assert stored["lr"] == config.retrain.lr


@pytest.mark.parametrize(
    ("data", "name", "percent", "expected"),
    [
        ("cifar10", "sym", 80, recipes.cifar(10, False)),
        ("cifar10", "asym", 40, recipes.cifar(10, True)),
        ("cifar100", "sym", 20, recipes.cifar(100, False)),
        ("cifar100", "asym", 40, recipes.cifar(100, True)),
        ("folder", "sym", 50, recipes.cifar(10, False)),
    ],
)
def test_noise_names_the_run_and_chooses_the_recipes(data, name, percent, expected):
    config = with_noise(cifar_config(data), name, percent)
    assert config.name == f"{data}_{name}{percent}"
    assert config.noise.name == {"sym": "symmetric", "asym": "asymmetric"}[name]
    assert config.noise.rate == percent / 100
    assert config.recipes.to_dict() == expected


def test_digits_keep_the_small_recipes_under_any_noise():
    config = with_noise(default_config(), "asym", 40)
    assert config.name == "digits_asym40"
    assert config.noise.name == "asymmetric"
    assert config.recipes.to_dict() == recipes.small()


def test_where_authors_train_with_pytorch_all_parameters_decay_and_momentum_is_plain():
    torch = ("elr", "elr_plus", "cdr", "dividemix", "mlc", "mslc", "meta_weight_net")
    for found in (recipes.cifar(10, False), recipes.cifar(100, True), recipes.clothing1m()):
        for name in torch:
            assert (found[name]["optimizer"], found[name]["decay_all"]) == ("momentum", True), name
    # FixMatch and UDA, in TensorFlow, decay kernels and have Nesterov's momentum.
    assert not recipes.cifar(10, False)["fixmatch"]["decay_all"]
    assert {recipe["optimizer"] for recipe in recipes.clothing1m().values()} == {"momentum"}


def test_clothing1m_has_the_authors_constants_where_they_have_some():
    found = recipes.clothing1m()
    expected = {
        "batch_size": 32, "lr": 2e-3, "weight_decay": 1e-3, "divide_warmup": 1, "mixup": 0.5, "lambda_u": 0.0,
        "labelled_only": True, "confidence_penalty": True, "epoch_rows": 32_000, "threshold": 0.5,
    }  # fmt: skip
    assert {key: found["dividemix"][key] for key in expected} == expected
    expected = {"meta_lr": 3e-3, "label_skip": True, "gradient_steps": 5}
    assert {key: found["mlc"][key] for key in expected} == expected
    own = {"famus", "mlnt", "mslg", "pencil", "rrl", "ssr", "ssr_plus"}
    assert {recipe["epochs"] for name, recipe in found.items() if name not in own} == {80}
