import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.models import registry
from dmlp_jax.models.resnet import ResNet
from dmlp_jax.models.small import Conv3x3


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def shapes(model, input_shape, train=True):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(input_shape), train))


@pytest.mark.parametrize(
    ("name", "parameters"),
    # github.com/kuangliu/pytorch-cifar's networks with ten classes.
    [("resnet18", 11_173_962), ("resnet34", 21_282_122), ("resnet50", 23_520_842)],
)
def test_cifar_resnets_have_the_published_size(name, parameters):
    model = registry.Classifier(registry.make_encoder(name), 10)
    assert count(shapes(model, (1, 32, 32, 3))) == parameters


@pytest.mark.parametrize(
    ("sizes", "block", "parameters"),
    # torchvision's networks with a thousand classes.
    [
        ((2, 2, 2, 2), "basic", 11_689_512),
        ((3, 4, 6, 3), "basic", 21_797_672),
        ((3, 4, 6, 3), "bottleneck", 25_557_032),
    ],
)
def test_imagenet_resnets_have_the_published_size(sizes, block, parameters):
    model = registry.Classifier(ResNet(sizes, block, stem="imagenet"), 1000)
    assert count(shapes(model, (1, 224, 224, 3))) == parameters


@pytest.mark.parametrize(("side", "kernel"), [(32, (3, 3, 3, 64)), (64, (3, 3, 3, 64)), (65, (7, 7, 3, 64))])
def test_large_images_have_the_stem_for_imagenet(side, kernel):
    params = shapes(registry.make_encoder("resnet18"), (1, side, side, 3))["params"]
    assert params["stem"]["kernel"].shape == kernel
    chosen = shapes(registry.make_encoder("preact_resnet18", stem="imagenet"), (1, side, side, 3))["params"]
    assert chosen["stem"]["kernel"].shape == (7, 7, 3, 64)
    assert registry.resolve_stem("auto", "resnet18", side) == ("imagenet" if side > 64 else "cifar")


@pytest.mark.parametrize(("name", "width"), [("resnet18", 512), ("resnet50", 2048), ("small_cnn", 128)])
def test_features_are_wide_and_float32(name, width):
    model = registry.make_encoder(name, dtype="bfloat16")
    out, _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 32, 32, 3)), True)
    )
    assert out.shape == (2, width)
    assert out.dtype == jnp.float32


def test_parameters_stay_float32_in_bfloat16():
    variables = shapes(registry.make_encoder("resnet18", dtype="bfloat16"), (1, 32, 32, 3))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [8, 7])
def test_conv3x3_is_a_convolution(stride, side):
    x = jax.random.normal(jax.random.key(0), (2, side, side, 3))
    ours = Conv3x3(5, stride)
    variables = jax.jit(ours.init)(jax.random.key(1), x)
    kernel = variables["params"]["Dense_0"]["kernel"].reshape(3, 3, 3, 5)
    theirs = nn.Conv(5, (3, 3), (stride, stride), padding=1, use_bias=False)
    oracle = jax.jit(theirs.apply)({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(jax.jit(ours.apply)(variables, x), oracle, atol=1e-5)


def test_inference_does_not_depend_on_the_batch():
    model = registry.make_encoder("small_cnn")
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    variables = jax.jit(model.init, static_argnums=2)(jax.random.key(1), x, True)
    apply = jax.jit(model.apply, static_argnums=2)
    together = apply(variables, x, False)
    np.testing.assert_allclose(apply(variables, x[:1], False), together[:1], atol=1e-5)


def test_linear_model_is_linear():
    model = registry.Classifier(registry.make_encoder("linear"), 3)
    x = jax.random.normal(jax.random.key(0), (4, 7))
    variables = model.init(jax.random.key(1), x, True)
    head = variables["params"]["head"]
    np.testing.assert_allclose(model.apply(variables, x, False), x @ head["kernel"] + head["bias"], atol=1e-5)


def test_projector_has_its_layers():
    head = registry.Projector(layers=3, width=0, out=16)
    params = shapes(head, (2, 32))["params"]
    assert [params[f"Dense_{i}"]["kernel"].shape for i in range(3)] == [(32, 32), (32, 32), (32, 16)]


def test_the_output_of_the_projector_has_a_bias_where_wanted():
    found = [set(shapes(registry.Projector(1, 0, 4, bias=b), (2, 3))["params"]["Dense_0"]) for b in (0, 1)]
    assert found == [{"kernel"}, {"kernel", "bias"}]


@pytest.mark.parametrize(
    ("name", "shape", "found"),
    [
        ("auto", (8, 8, 1), "small_cnn"),
        ("auto", (32, 32, 3), "resnet18"),
        ("auto", (512,), "mlp"),
        ("resnet50", (8, 8, 1), "resnet50"),
    ],
)
def test_auto_fits_the_input(name, shape, found):
    assert registry.resolve_model(name, shape) == found


def test_unfitting_models_are_refused():
    with pytest.raises(UserError, match="does not take features"):
        registry.resolve_model("resnet18", (512,))
    with pytest.raises(UserError, match="does not take images"):
        registry.resolve_model("mlp", (8, 8, 1))
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        registry.make_encoder("resnet81")
    with pytest.raises(UserError, match="'cnn9'; leave the stem at auto"):
        registry.make_encoder("cnn9", stem="cifar")
    with pytest.raises(UserError, match="bfloat16"):
        registry.make_encoder("resnet18", dtype="float16")
