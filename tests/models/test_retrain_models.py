"""The networks of the retraining methods' authors, against their architectures written in NumPy."""

import itertools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.models import registry
from dmlp_jax.models.cnn9 import CNN9
from dmlp_jax.models.dropout import ChannelDropout
from dmlp_jax.models.resnet import ResNet
from dmlp_jax.models.wide_resnet import WideResNet


def drawn(model, side):
    """Variables for images of this side, all drawn at random, none of batch norm's near 0 or 1."""
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1] in ("scale", "var"):
            values = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            fan_in = 10 if leaf.ndim == 1 else np.prod(leaf.shape[:-1])
            values = rng.normal(0, np.sqrt(2 / fan_in), leaf.shape)
        return values.astype(np.float32)

    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, False), images)
    return flax.traverse_util.path_aware_map(draw, variables)


def convolved(x, part, stride=1, padding=0):
    """Cross-correlation in float64 of x [b, h, w, channels]."""
    kernel = np.float64(part["kernel"])
    size = kernel.shape[0]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    side = (x.shape[1] - size) // stride + 1
    out, reach = np.float64(part.get("bias", 0.0)), stride * (side - 1) + 1
    for i, j in np.ndindex(size, size):
        shifted = np.ascontiguousarray(x[:, i : i + reach : stride, j : j + reach : stride])
        out = out + (shifted.reshape(-1, x.shape[-1]) @ kernel[i, j]).reshape(*shifted.shape[:3], -1)
    return out


def normalised(x, part, stats):
    scale = np.float64(part["scale"]) / np.sqrt(np.float64(stats["var"]) + 1e-5)
    return (x - np.float64(stats["mean"])) * scale + np.float64(part["bias"])


def relu(x):
    return np.maximum(x, 0)


def preact_reference(variables, x):
    params, stats = variables["params"], variables["batch_stats"]
    x = relu(normalised(convolved(x, params["stem"], 1, 1), params["stem_norm"], stats["stem_norm"]))
    for block in range(8):
        part, its = params[f"_PreAct_{block}"], stats[f"_PreAct_{block}"]
        convs = [part[name] for name in sorted(part) if name.startswith("Conv")]
        stride = 2 if block in (2, 4, 6) else 1
        y = relu(normalised(x, part["BatchNorm_0"], its["BatchNorm_0"]))
        shortcut = x
        if stride == 2:
            assert convs[0]["kernel"].shape[:2] == (1, 1)
            shortcut = convolved(y, convs.pop(0), 2)
        y = convolved(y, convs[0], stride, 1)
        y = relu(normalised(y, part["BatchNorm_1"], its["BatchNorm_1"]))
        x = shortcut + convolved(y, convs[1], 1, 1)
    return x.mean(axis=(1, 2))


def wide_reference(variables, x):
    params, stats = variables["params"], variables["batch_stats"]

    def activated(x, part, its, name):
        x = normalised(x, part[name], its[name])
        return np.where(x > 0, x, 0.1 * x)

    x = convolved(x, params["stem"], 1, 1)
    for block in range(12):
        part, its = params[f"_Block_{block}"], stats[f"_Block_{block}"]
        stride = 2 if block in (4, 8) else 1
        y = activated(x, part, its, "BatchNorm_0")
        shortcut = y if block == 0 else x
        if block in (0, 4, 8):
            shortcut = convolved(shortcut, part["shortcut"], stride)
        y = convolved(y, part["Conv_0"], stride, 1)
        x = shortcut + convolved(activated(y, part, its, "BatchNorm_1"), part["Conv_1"], 1, 1)
    return activated(x, params, stats, "last_norm").mean(axis=(1, 2))


def cnn9_reference(variables, x):
    params, stats = variables["params"], variables["batch_stats"]
    for layer in range(9):
        x = convolved(x, params[f"Conv_{layer}"], 1, 0 if layer >= 6 else 1)
        x = normalised(x, params[f"BatchNorm_{layer}"], stats[f"BatchNorm_{layer}"])
        x = np.where(x > 0, x, 0.01 * x)
        if layer in (2, 5):
            b, h, w, channels = x.shape
            x = x.reshape(b, h // 2, 2, w // 2, 2, channels).max(axis=(2, 4))
    return x.mean(axis=(1, 2))


@pytest.mark.parametrize(
    ("model", "side", "reference", "width"),
    [
        (ResNet((2, 2, 2, 2), "preact"), 8, preact_reference, 512),
        (CNN9(), 28, cnn9_reference, 128),
        (WideResNet(), 8, wide_reference, 128),
    ],
    ids=["preact_resnet18", "cnn9", "wide_resnet28_2"],
)
def test_features_are_those_of_the_architecture(model, side, reference, width):
    images = np.random.default_rng(1).random((2, side, side, 3)).astype(np.float32)
    variables = drawn(model, side)
    found = jax.jit(lambda v, x: model.apply(v, x, False))(variables, images)
    expected = reference(variables, np.float64(images))
    assert found.shape == (2, width)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    # Nothing cuts off at 0 before the pooling.
    assert np.min(found) < 0 < np.max(found)


def shapes(model, side, **options):
    """Variables and outputs, without computing anything."""
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, False), images)
    return variables, jax.eval_shape(lambda v, x: model.apply(v, x, False, **options), variables, images)


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("classes", [10, 100])
def test_preact_resnet_has_the_authors_size(classes):
    expected, inputs = 9 * 3 * 64 + 2 * 64, 64
    for width in (64, 128, 256, 512):
        for index in range(2):
            expected += 2 * inputs + 9 * inputs * width + 2 * width + 9 * width * width
            expected += inputs * width if index == 0 and inputs != width else 0
            inputs = width
    expected += 512 * classes + classes
    assert classes == 100 or expected == 11_171_274
    model = registry.Classifier(registry.make_encoder("preact_resnet18"), classes)
    assert count(shapes(model, 32)[0]) == expected


def test_nothing_normalises_after_the_last_block():
    variables, _ = shapes(ResNet((2, 2, 2, 2), "preact"), 32)
    stats = variables["batch_stats"]
    assert set(stats) == {"stem_norm", *(f"_PreAct_{index}" for index in range(8))}
    assert all(set(stats[f"_PreAct_{index}"]) == {"BatchNorm_0", "BatchNorm_1"} for index in range(8))


def test_cnn9_has_the_authors_size():
    widths = (3, 128, 128, 128, 256, 256, 256, 512, 256, 128)
    expected = sum(9 * i * o + o + 2 * o for i, o in itertools.pairwise(widths)) + 128 * 10 + 10
    model = registry.Classifier(registry.make_encoder("cnn9"), 10)
    assert count(shapes(model, 32)[0]) == expected


def test_cnn9_goes_from_32_to_2_pixels():
    _, (features, seen) = shapes(CNN9(), 32, capture_intermediates=True, mutable=["intermediates"])
    seen = seen["intermediates"]
    sides = [seen[f"Conv_{layer}"]["__call__"][0].shape[1:] for layer in range(9)]
    assert sides == [
        *[(32, 32, 128)] * 3,
        *[(16, 16, 256)] * 3,
        *[(6, 6, 512), (4, 4, 256), (2, 2, 128)],
    ]
    drops = [seen[f"ChannelDropout_{index}"]["__call__"][0].shape[1:] for index in range(2)]
    assert drops == [(16, 16, 128), (8, 8, 256)]
    assert features.shape == (2, 128)


def test_wide_resnet_has_the_authors_size():
    expected, inputs = 27 * 16, 16
    for width in (32, 64, 128):
        for index in range(4):
            expected += 2 * inputs + 9 * inputs * width + 2 * width + 9 * width * width
            expected += inputs * width if index == 0 else 0
            inputs = width
    expected += 2 * 128 + 128 * 10 + 10
    assert expected == 1_467_610
    model = registry.Classifier(registry.make_encoder("wide_resnet28_2"), 10)
    assert count(shapes(model, 32)[0]) == expected


@pytest.mark.parametrize("name", ["preact_resnet18", "cnn9", "wide_resnet28_2"])
def test_bfloat16_concerns_the_computation_only(name):
    variables, features = shapes(registry.make_encoder(name, dtype="bfloat16"), 32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert features.dtype == jnp.float32


def test_images_too_small_for_cnn9_are_refused():
    with pytest.raises(UserError, match=r"'cnn9' takes images of at least 28.*these are 27x32; use auto"):
        registry.resolve_model("cnn9", (27, 32, 3))
    assert registry.resolve_model("cnn9", (28, 28, 3)) == "cnn9"
    assert shapes(CNN9(), 28)[1].shape == (2, 128)
    with pytest.raises(UserError, match="does not take features"):
        registry.resolve_model("cnn9", (512,))
    with pytest.raises(UserError, match="does not take features"):
        registry.resolve_model("preact_resnet18", (512,))


def dropped(x, rate=0.25, key=0):
    model = ChannelDropout(rate)
    return np.asarray(
        jax.jit(lambda rng: model.apply({}, x, True, rngs={"dropout": rng}))(jax.random.key(key))
    )


def test_dropout_takes_whole_channels_and_scales_the_rest():
    images = 1 + np.random.default_rng(0).random((64, 3, 2, 40)).astype(np.float32)
    found = dropped(images)
    kept = found[:, 0, 0] != 0
    expected = np.where(kept[:, None, None], images / 0.75, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # 2,560 draws: five standard deviations are .043.
    assert abs(np.mean(kept) - 0.75) < 0.043
    assert len(np.unique(kept, axis=0)) == 64
    assert np.all(np.abs(np.mean(kept, axis=0) - 0.75) < 0.3)


def test_dropout_depends_on_key_and_place_alone():
    images = np.ones((8, 2, 2, 16), np.float32)
    found = dropped(images)
    np.testing.assert_array_equal(found, dropped(images))
    np.testing.assert_array_equal(found[:3], dropped(images[:3]))
    np.testing.assert_array_equal(found, dropped(3 * images) / 3)
    assert np.any(found != dropped(images, key=1))


def test_dropout_needs_no_key_where_it_does_nothing():
    images = np.random.default_rng(0).random((2, 2, 2, 4)).astype(np.float32)
    np.testing.assert_array_equal(ChannelDropout(0.9).apply({}, images, False), images)
    np.testing.assert_array_equal(ChannelDropout(0.0).apply({}, images, True), images)
    with pytest.raises(flax.errors.InvalidRngError):
        ChannelDropout(0.9).apply({}, images, True)


def test_cnn9_drops_a_quarter_of_the_channels_in_training_only():
    images = np.random.default_rng(1).random((2, 28, 28, 3)).astype(np.float32)
    model = CNN9()
    variables = drawn(model, 28)

    @jax.jit
    def empty_channels(key):
        _, seen = model.apply(
            variables, images, True, rngs={"dropout": key}, capture_intermediates=True,
            mutable=["batch_stats", "intermediates"],
        )  # fmt: skip
        outputs = [seen["intermediates"][f"ChannelDropout_{index}"]["__call__"][0] for index in range(2)]
        return [jnp.all(out == 0, axis=(1, 2)) for out in outputs]

    empty = [np.asarray(part) for part in empty_channels(jax.random.key(0))]
    assert [part.shape for part in empty] == [(2, 128), (2, 256)]
    assert abs(np.mean(np.concatenate(empty, axis=1)) - 0.25) < 0.08
    assert np.any(empty[0] != empty[1][:, :128])
