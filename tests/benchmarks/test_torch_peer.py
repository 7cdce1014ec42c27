"""The PyTorch step beside which benchmarks/pretrain.py puts ours: the same network, the same colours."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.config import cifar_config
from dmlp_jax.contrastive.losses import nt_xent
from dmlp_jax.contrastive.method import make_model
from dmlp_jax.data.augment import color

torch = pytest.importorskip("torch")
_PATH = Path(__file__).parents[2] / "benchmarks" / "torch_simclr.py"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def peer():
    spec = importlib.util.spec_from_file_location("torch_simclr", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of(model):
    settings = cifar_config("cifar10").pretrain
    settings.update(model=model, dtype="float32")
    return settings


def layers_of(params):
    """Our layers in the order in which PyTorch's network lists its own."""
    encoder, head = params["encoder"], params["projector"]
    found = [encoder["stem"], encoder["stem_norm"]]
    blocks = sorted(
        (name for name in encoder if name.startswith("_")), key=lambda name: int(name.split("_")[-1])
    )
    for block in blocks:
        for index in range(len(encoder[block]) // 2):
            found += [encoder[block][f"Conv_{index}"], encoder[block][f"BatchNorm_{index}"]]
    return [*found, *(head[f"Dense_{index}"] for index in range(len(head)))]


def copied(network, params):
    """Writes our parameters into PyTorch's network."""
    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)
    theirs = [module for module in network.modules() if isinstance(module, kinds)]
    for module, own in zip(theirs, layers_of(params), strict=True):
        weight = np.asarray(own["scale"] if "scale" in own else own["kernel"])
        weight = weight.transpose({1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[weight.ndim])
        assert module.weight.shape == weight.shape
        module.weight.data = torch.tensor(weight)
        assert (module.bias is not None) == ("bias" in own)
        if module.bias is not None:
            module.bias.data = torch.tensor(np.asarray(own["bias"]))
    return network


@pytest.mark.parametrize("model", ["resnet18", "resnet34", "resnet50"])
def test_networks_have_the_same_parameters(peer, model):
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    init = lambda key, x: make_model(settings_of(model)).init(key, x, True)  # noqa: E731
    ours = jax.eval_shape(init, jax.random.key(0), images)["params"]
    theirs = peer.ContrastiveResNet(model, [1024, 128], False, True).parameters()
    shapes = [sorted(leaf.shape) for leaf in jax.tree.leaves(ours)]
    assert sorted(shapes) == sorted(sorted(leaf.shape) for leaf in theirs)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_networks_compute_the_same(peer, model):
    images = RNG.random((6, 16, 16, 3)).astype(np.float32)
    ours = make_model(settings_of(model))
    variables = jax.jit(ours.init, static_argnums=2)(jax.random.key(0), images, True)
    apply = jax.jit(lambda variables, x: ours.apply(variables, x, True, mutable=["batch_stats"])[0])
    network = copied(peer.ContrastiveResNet(model, [1024, 128], False, True), variables["params"]).train()
    with torch.no_grad():
        theirs = network(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    found = np.asarray(apply(variables, images))
    np.testing.assert_allclose(found, theirs, atol=2e-3 * np.abs(theirs).max())


def test_losses_are_the_same(peer):
    rows = RNG.normal(size=(12, 5)).astype(np.float32)
    ours = nt_xent(jnp.asarray(rows[:6]), jnp.asarray(rows[6:]), 0.5)
    np.testing.assert_allclose(peer.nt_xent(torch.tensor(rows), 0.5).item(), ours, rtol=1e-5)


def test_hues_are_the_same(peer):
    images = RNG.random((2, 7, 7, 3)).astype(np.float32)
    turns = np.array([-0.1, 0.07], np.float32)
    ours = jax.vmap(color.shift_hue)(jnp.asarray(images), jnp.asarray(turns))
    theirs = peer.shift_hue(torch.tensor(images.transpose(0, 3, 1, 2)), torch.tensor(turns).view(2, 1, 1))
    np.testing.assert_allclose(theirs.numpy().transpose(0, 2, 3, 1), ours, atol=1e-5)


def test_a_whole_crop_is_the_image_or_its_mirror(peer, monkeypatch):
    """Area 1, aspect 1 (the logarithm of its bounds is 0), no colours changed."""
    images = torch.tensor(RNG.random((3, 3, 8, 8)), dtype=torch.float32)
    torch.manual_seed(0)
    monkeypatch.setattr(peer.math, "log", lambda _: 0.0)
    views = peer.random_view(images, 1.0, 0.0, 0.0)
    mirrored = images.flip(-1)
    matches = [
        min(float((view - same).abs().max()), float((view - mirror).abs().max()))
        for view, same, mirror in zip(views, images, mirrored, strict=True)
    ]
    assert max(matches) < 1e-5
