import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

from dmlp_jax import PurifyConfig
from dmlp_jax.config import cifar_config, default_config, flatten
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.pipeline import check_settings, purify_settings
from dmlp_jax.purifier.config import PRESETS

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_complete_and_possible(path):
    config = load(path)
    assert config.name == path.stem
    assert [key for key, _ in flatten(config)] == [key for key, _ in flatten(default_config())]
    check_settings.check(config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_names_say_what_the_noise_is(path):
    config = load(path)
    if "sym" in path.stem:
        kind = "asymmetric" if "asym" in path.stem else "symmetric"
        assert config.noise.name == kind
        assert config.noise.rate == int(re.search(r"sym(\d+)", path.stem)[1]) / 100
        assert not config.noise.exclude_true_class
        assert config.data.name == path.stem.split("_")[0]


def test_default_is_digits_sym80():
    config = load(Path(__file__).parents[1] / "configs" / "digits_sym80.py")
    assert config.to_dict() == default_config().to_dict()


def test_purify_settings_are_the_fields_of_purify_config():
    fields = {field.name for preset in PRESETS.values() for field in dataclasses.fields(preset)}
    assert set(default_config().purify) == fields | {"preset", "paper_steps"}


def test_a_setting_that_the_preset_does_not_read_is_refused():
    config = default_config()
    config.purify.eac = False
    with pytest.raises(UserError, match=r"purify\.eac is False, but purify\.preset=default does not read it"):
        purify_settings.make(config.purify)
    config.purify.preset = "paper"
    assert purify_settings.make(config.purify) == PurifyConfig.paper(eac=False)


def test_presets_and_overrides_reach_the_purifier():
    config = default_config()
    assert purify_settings.make(config.purify) == PurifyConfig()
    config.purify.preset = "paper"
    config.purify.steps = 7
    config.purify.label_lr = 0.5
    assert purify_settings.make(config.purify) == PurifyConfig.paper(steps=7, label_lr=0.5)


def test_cifar_uses_the_published_recipe():
    config = cifar_config("cifar10")
    assert config.val.size == 1000
    assert config.pretrain.epochs == 1000
    assert config.pretrain.model == "resnet18"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("stages", "purify,retrian", "did you mean 'retrain'"),
        ("stages", "", "stages holds ''"),
        ("data.name", "mnist", "data.name is 'mnist'"),
        ("data.name", "npz", "need no encoder"),
        ("pretrain.method", "mocco", "did you mean 'moco'"),
        ("pretrain.augment", "simclar", "augment"),
        ("pretrain.model", "resnet19", "did you mean 'resnet18'"),
        ("retrain.method", "dividemx", "did you mean 'dividemix'"),
        ("retrain.checkpoint_epochs", 0, "retrain.checkpoint_epochs is 0"),
        ("retrain.batch_size", 0, "retrain.batch_size is 0"),
        ("retrain.select_share", 2.0, "select_share"),
        ("retrain.schedule", "step", "schedule"),
        ("retrain.labels", "pure", "retrain.labels holds 'pure'"),
        ("retrain.init", "ssl", "retrain.init"),
        ("retrain.augment", "flip", "augment"),
        ("retrain.dtype", "float16", "dtype"),
        ("purify.preset", "papper", "purify.preset"),
        ("purify.steps", 0, "config.steps"),
    ],
)
def test_mistakes_are_found_before_anything_runs(key, value, words):
    config = default_config()
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    with pytest.raises((UserError, ValueError), match=words):
        check_settings.check(config)


def test_nearest_name_is_offered():
    known = ["noise.rate", "seed", "pretrain.epochs"]
    assert "noise.rate" in nearest("noise.rat", known)
    assert "pretrain.epochs" in nearest("epochs", known)
    assert nearest("zzz", known) == ""
