"""The count of operations that benchmarks/pretrain.py divides by time."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from dmlp_jax.models import registry
from dmlp_jax.models.cpu_convolution import convolve

_PATH = Path(__file__).parents[2] / "benchmarks" / "flops.py"


@pytest.fixture(scope="module")
def flops():
    spec = importlib.util.spec_from_file_location("flops", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def floats(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def by_hand(side, padding=True):
    """Operations of ResNet-18 with the stem for CIFAR, on one image; `padding`: also those on its zeros."""

    def layer(pixels, kernel, entering, leaving, stride=1):
        # Places of all windows along one side; the first, and the last with stride 1, sticks out by one.
        places = kernel * pixels - (0 if padding or kernel == 1 else 3 - stride)
        return 2 * places**2 * entering * leaving

    total = layer(side, 3, 3, 64) + 4 * layer(side, 3, 64, 64)
    for stage in (1, 2, 3):
        at, before, width = side >> stage, 32 << stage, 64 << stage
        total += layer(at, 3, before, width, stride=2) + layer(at, 1, before, width)
        total += 3 * layer(at, 3, width, width)
    return total


def forward(name, shape, stem="auto"):
    model = registry.make_encoder(name, stem=stem)
    variables = jax.eval_shape(lambda key, x: model.init(key, x, True), jax.random.key(0), floats(*shape))
    apply = lambda variables, x: model.apply(variables, x, True, mutable=["batch_stats"])[0]  # noqa: E731
    return apply, variables, floats(*shape)


@pytest.mark.parametrize("side", [32, 16])
def test_resnet18_is_counted_as_by_hand(flops, side):
    assert flops.count(*forward("resnet18", (3, side, side, 3))) == 3 * by_hand(side)


def test_resnet18_has_the_published_count(flops):
    """0.56 billion multiplications and additions an image of 32 pixels."""
    assert flops.count(*forward("resnet18", (1, 32, 32, 3))) / 2e9 == pytest.approx(0.556, abs=0.001)


def test_resnet50_has_the_published_count_on_imagenet_s_images_and_not_with_the_small_stem(flops):
    """4.09 billion multiplications and additions an image of 224 pixels, with the last layer."""
    image = (1, 224, 224, 3)
    count = flops.count(*forward("resnet50", image))
    assert (count / 2 + 2048 * 1000) / 1e9 == pytest.approx(4.09, abs=0.005)
    assert flops.count(*forward("resnet50", image, stem="cifar")) / count == pytest.approx(15.56, abs=0.01)


def test_xla_counts_the_same_where_nothing_is_padded(flops):
    """XLA adds elementwise work, under 2 % with 64 channels."""

    def network(kernel, dense, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers)
        return jax.nn.relu(x).reshape(len(x), -1) @ dense

    arguments = floats(3, 3, 64, 64), floats(64 * 36, 32), floats(2, 8, 8, 64)
    own = flops.count(network, *arguments)
    assert own == 2 * (2 * 36 * 64 * 64 * 9 + 2 * 64 * 36 * 32)
    assert jax.jit(network).lower(*arguments).cost_analysis()["flops"] == pytest.approx(own, rel=0.02)


def test_xla_counts_resnet18_without_its_padding(flops):
    """What XLA adds for batch norm and the rest is under 2 %. On a CPU the convolutions take fewer."""
    apply, variables, images = forward("resnet18", (4, 32, 32, 3))
    lowered = jax.jit(apply).trace(variables, images).lower(lowering_platforms=("cuda",))
    xla = lowered.cost_analysis()["flops"]
    assert xla == pytest.approx(4 * by_hand(32, padding=False), rel=0.02)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_for_cpus_and_its_two_gradients_count_by_the_definition(flops, stride):
    def loss(x, kernel):
        return jnp.sum(convolve(x, kernel, (stride, stride), ((1, 1), (1, 1))) ** 2)

    count = flops.count(jax.grad(loss, (0, 1)), floats(2, 8, 8, 16), floats(3, 3, 16, 32))
    assert count == 3 * 2 * (2 * (8 // stride) ** 2 * 32 * 9 * 16)


def test_programs_inside_are_counted(flops):
    product = lambda a, b: a @ b  # noqa: E731
    one = flops.count(product, floats(4, 5), floats(5, 6))
    assert one == 2 * 4 * 5 * 6

    def nested(a, b):
        def body(carry, _):
            return carry + jnp.sum(jax.jit(product)(a, b)), None

        total, _ = jax.lax.scan(body, 0.0, length=7)
        return total + jax.lax.cond(total > 0, lambda: jnp.sum(product(a, b)), lambda: 0.0)

    assert flops.count(nested, floats(4, 5), floats(5, 6)) == 8 * one
    batched = jax.vmap(jax.checkpoint(product))
    assert flops.count(batched, floats(3, 4, 5), floats(3, 5, 6)) == 3 * one


def test_grouped_convolution_sees_its_own_channels_only(flops):
    def network(kernel, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=4
        )

    assert flops.count(network, floats(3, 3, 2, 16), floats(1, 5, 5, 8)) == 2 * 25 * 16 * 9 * 2


def test_a_product_in_a_loop_without_end_is_refused(flops):
    def endless(x):
        return jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ x, x)

    with pytest.raises(ValueError, match="while"):
        flops.count(endless, floats(3, 3))


def test_peaks_are_found_by_kind(flops):
    assert flops.peak("NVIDIA H100 80GB HBM3") == 989e12
    assert flops.peak("TPU v5 lite") == 197e12
    assert flops.peak("TPU v5p") == 459e12
    assert flops.peak("cpu") is None
    assert flops.peak("NVIDIA H100 PCIe") is None
