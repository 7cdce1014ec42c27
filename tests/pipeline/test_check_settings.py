"""What is left open in the settings is decided by the images that the networks see."""

import pytest

from dmlp_jax.config import apply_recipe, cifar_config, clothing1m_config, default_config
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_settings


def stems(config, shape):
    found = check_settings.resolve(apply_recipe(config), shape)
    return found.pretrain.stem, found.retrain.stem


def test_clothing1m_has_the_stem_of_imagenet_in_both_networks():
    config = clothing1m_config()
    assert stems(config, (256, 256, 3)) == ("imagenet", "imagenet")
    config.retrain.init = "scratch"
    config.retrain.method = "dividemix"
    assert stems(config, (256, 256, 3)) == ("imagenet", "imagenet")


@pytest.mark.parametrize(("side", "stem"), [(32, "cifar"), (64, "cifar"), (65, "imagenet")])
def test_the_stem_goes_by_the_image_that_the_network_sees(side, stem):
    assert stems(cifar_config("folder"), (side, side, 3)) == (stem, stem)
    cropped = cifar_config("folder")
    cropped.pretrain.crop_size = cropped.retrain.crop_size = side
    assert stems(cropped, (200, 200, 3)) == (stem, stem)


def test_networks_without_a_choice_keep_their_stem():
    assert stems(default_config(), (8, 8, 1)) == ("auto", "auto")
    config = default_config()
    config.pretrain.stem = "imagenet"
    with pytest.raises(UserError, match=r"only resnet18, .* the model is 'small_cnn'"):
        stems(config, (8, 8, 1))


def test_a_classifier_that_starts_from_the_encoder_has_its_stem():
    config = clothing1m_config()
    config.pretrain.stem = "cifar"
    assert stems(config, (256, 256, 3)) == ("cifar", "cifar")
    config.retrain.stem = "imagenet"
    with pytest.raises(UserError, match=r"add --config\.retrain\.stem=cifar"):
        stems(config, (256, 256, 3))


def test_a_classifier_on_frozen_features_is_a_network_of_features():
    config = cifar_config("cifar10")
    config.retrain.init = "frozen"
    config.retrain.update(model="auto", augment="auto", crop_size=28)
    found = check_settings.resolve(apply_recipe(config), (32, 32, 3)).retrain
    assert (found.model, found.augment, found.crop_size) == ("linear", "none", 0)
    config.retrain.model = "resnet18"
    with pytest.raises(UserError, match="does not take features"):
        check_settings.resolve(apply_recipe(config), (32, 32, 3))
    with pytest.raises(UserError, match="'frozen', but the inputs are features"):
        check_settings.resolve(apply_recipe(config), (512,))


@pytest.mark.parametrize(
    ("data", "init", "method", "expected"),
    [
        ("npz", "scratch", "ssr", "none"),  # the recipe has views of images
        ("npz", "scratch", "naive", "none"),
        ("digits", "frozen", "promix", "none"),
        ("digits", "scratch", "promix", "affine_weak"),
    ],
)
def test_the_views_of_a_recipe_are_for_images(data, init, method, expected):
    config = default_config()
    config.data.name, config.stages = data, "retrain"
    config.retrain.update(init=init, method=method)
    found = check_settings.check(config).config
    assert found.retrain.augment == expected
    assert config.retrain.augment is None  # the caller's copy stays as it was
    shape = (8, 8, 1) if data == "digits" else (16,)
    assert check_settings.resolve(found, shape).retrain.augment == expected


def test_views_that_features_do_not_have_are_refused():
    config = default_config()
    config.data.name, config.stages = "npz", "retrain"
    config.retrain.update(method="ssr", augment="affine_weak")
    with pytest.raises(UserError, match="is for images, but the inputs are features"):
        check_settings.resolve(check_settings.check(config).config, (16,))


def test_unknown_stems_are_named():
    config = cifar_config("cifar10")
    config.retrain.stem = "imagnet"
    with pytest.raises(UserError, match="did you mean 'imagenet'"):
        check_settings.check(config)
