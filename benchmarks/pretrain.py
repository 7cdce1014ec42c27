"""Measures pretraining speed: time of a step by part, model-FLOPs utilisation, PyTorch for comparison.

    python benchmarks/pretrain.py --model=resnet18 --method=simclr --batch-size=512 --dtype=bfloat16

The images are random unless --data names a cifar10.npz; speed does not depend on them. Model FLOPs are those
of the network's convolutions and matrix products, padding included; a backward pass counts as two forward
passes. Each part is jitted and timed separately, so the parts do not sum to the whole: a part may cost less
when it is fused. The line for the rest is the remainder, including input, keys and dispatch.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import flops
import jax
import numpy as np
import pretrain_parts
from common import markdown, write
from ml_collections import ConfigDict
from pretrain_parts import Task

from dmlp_jax.config import cifar_config, default_config, with_moco
from dmlp_jax.training import parallel

EPOCH = 50_000
LINES = {
    "views": "two random views",
    "forward": "encoder and head, forward",
    "backward": "encoder and head, backward",
    "loss": "contrastive loss and its gradient",
    "optimizer": "optimizer",
}


def main() -> None:
    """Measures and writes benchmarks/results/<name>.md."""
    arguments = _arguments()
    settings = _settings(arguments)
    images = _images(arguments)
    # PyTorch goes first: JAX takes most of a GPU's memory as soon as it is used.
    peer = _torch(settings, arguments)
    devices = parallel.local_devices(arguments.devices)
    cpu = devices[0].platform == "cpu"
    if peer.get("gpu") is cpu:
        peer = {"missing": "it ran on another kind of device"}
    task = Task(settings, images, arguments.repeats, 1 if cpu else 20)

    whole, compiling, processor = pretrain_parts.whole(task, devices)
    own = task._replace(settings=pretrain_parts.share_of(settings, len(devices)))
    parts = pretrain_parts.parts(own)
    epoch = pretrain_parts.epoch(task, devices, arguments.epochs)
    extracted, bare = pretrain_parts.extraction(task, default_config().extract.batch_size)
    parameters = pretrain_parts.parameters(settings, images.shape[1:])
    if "parameters" in peer and peer["parameters"] != parameters:
        raise SystemExit(f"PyTorch's network has {peer['parameters']:,} parameters, ours {parameters:,}")

    text = _split(parts, whole, peer) + "\n\n"
    facts = {"parameters": f"{parameters:,}", **_use(task, devices, whole, arguments.peak_tflops)}
    steps = len(images) // settings.batch_size
    facts["images/s, in a step"] = _per_second(settings.batch_size / whole)
    facts["images/s, in an epoch of the training loop"] = _per_second(steps * settings.batch_size / epoch)
    seconds = epoch * (EPOCH // settings.batch_size) / steps
    facts[f"an epoch of {EPOCH:,} images, s"] = f"{seconds:,.2f}" + (
        "" if len(images) == EPOCH else ", scaled"
    )
    facts["compiling the step, s"] = f"{compiling:.1f}"
    share = f"{extracted / bare:.0%} of the bare forward pass"
    facts["images/s of feature extraction"] = f"{_per_second(extracted)}, {share}"
    if cpu:
        other = f"; PyTorch {peer['processor']:.2f}" if "processor" in peer else ""
        facts["processor time of a step, all threads, s"] = f"{processor:.2f}{other}"
        facts["load average of the last 15 minutes"] = f"{os.getloadavg()[2]:.1f} on {os.cpu_count()} cores"
    text += markdown(["what", ""], [list(fact) for fact in facts.items()])
    text += "\n\n" + _about_torch(peer, whole, parts["network"])
    title = (
        f"Pretraining speed: {settings.method}, {settings.model}, {arguments.image_size} pixels, batches of"
    )
    where = "" if len(devices) == 1 else f", {len(devices)} devices"
    write(arguments.name, f"{title} {settings.batch_size}, {settings.dtype}{where}", text)


def _per_second(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=sorted(pretrain_parts.METHODS), default="simclr")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=512, help="over all devices")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--devices", type=int, default=1, help="0 for all")
    parser.add_argument(
        "--rows", type=int, default=EPOCH, help="images of the data set, where there is no --data"
    )
    parser.add_argument("--data", type=Path, help="cifar10.npz with x_train")
    parser.add_argument("--repeats", type=int, default=10, help="measurements that each median is of")
    parser.add_argument("--epochs", type=int, default=5, help="of the training loop that are timed")
    parser.add_argument(
        "--peak-tflops", type=float, help="dense bfloat16 TFLOP/s, for a device not in flops.py"
    )
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--no-torch-compile", action="store_true")
    parser.add_argument("--name", default="pretrain_speed", help="of the file in benchmarks/results")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> ConfigDict:
    """Those of CIFAR-10 in the paper's setting; MoCo's where it is asked for."""
    config = cifar_config("cifar10")
    if arguments.method == "moco":
        config = with_moco(config)
    config.pretrain.update(model=arguments.model, batch_size=arguments.batch_size, dtype=arguments.dtype)
    return config.pretrain


def _images(arguments: argparse.Namespace) -> np.ndarray:
    if arguments.data is None:
        shape = (arguments.rows, arguments.image_size, arguments.image_size, 3)
        return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    images = np.load(arguments.data)["x_train"]
    if images.shape[1] != arguments.image_size:
        raise SystemExit(f"{arguments.data} has images of {images.shape[1]} pixels; give --image-size")
    return images


def _torch(settings: ConfigDict, arguments: argparse.Namespace) -> dict[str, Any]:
    """What torch_simclr.py measured, or why it did not."""
    if arguments.no_torch:
        return {"missing": "left out"}
    if settings.method != "simclr" or arguments.devices != 1:
        return {"missing": "it has SimCLR on one device only"}
    if importlib.util.find_spec("torch") is None:
        return {"missing": "not installed, extra `benchmarks`"}
    names = ("model", "batch_size", "dtype", "lr", "momentum", "weight_decay", "temperature", "crop_min_area")
    names += ("color_strength", "gray_prob", "projection_norm", "projection_bias", "optimizer", "decay_all")
    request = {name: settings[name] for name in names}
    hidden = [settings.projection_width] * (settings.projection_layers - 1)
    request |= {"projection": [*hidden, settings.projection_dim], "image_size": arguments.image_size}
    request |= {
        "rows": arguments.rows,
        "repeats": arguments.repeats,
        "compile": not arguments.no_torch_compile,
    }
    script = Path(__file__).with_name("torch_simclr.py")
    # Else threads that wait do so by spinning, which counts as processor time.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, script, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return {"missing": "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _split(parts: dict[str, float], whole: float, peer: dict[str, Any]) -> str:
    """The step by part."""

    def line(name, value, key=None):
        other = f"{1e3 * peer[key]:.2f}" if key in peer else "-"
        return [name, f"{1e3 * value:.2f}", f"{value / whole:.1%}", other]

    rows = [line(text, parts[name], name) for name, text in LINES.items()]
    rows.append(line("the rest", whole - sum(parts[name] for name in LINES)))
    rows.append(line("whole step", whole, "whole"))
    rows.append(line("step on fixed views, jitted alone", parts["network"], "network"))
    return markdown(["part", "ms a step", "share", "PyTorch, ms"], rows)


def _use(task: Task, devices: list[jax.Device], whole: float, peak_tflops: float | None) -> dict[str, str]:
    """Model FLOPs, and what share they are of what the devices could do."""
    each = pretrain_parts.model_flops(task.settings, task.images.shape[1:])
    rate = each * task.settings.batch_size / whole / len(devices)
    cpu = devices[0].platform == "cpu"
    size = 2048 if cpu else 8192
    bare = flops.bare_product(task.settings.dtype, size, devices[0])
    peak = 1e12 * peak_tflops if peak_tflops else flops.peak(devices[0].device_kind)
    known = "unknown; --peak-tflops" if peak is None else f"{rate / peak:.1%} of {peak / 1e12:,.0f} TFLOP/s"
    product = f"{bare / 1e12:,.3g} TFLOP/s, the step reaches {rate / bare:.1%} of it"
    return {
        "model GFLOPs an image": f"{each / 1e9:.3f}",
        "model TFLOP/s a device": f"{rate / 1e12:,.3g}",
        "model-FLOPs utilisation (MFU), dense bfloat16": "unknown on a CPU"
        if cpu and peak is None
        else known,
        f"for reference a bare product of {size} x {size} matrices, {task.settings.dtype}": product,
    }


def _about_torch(peer: dict[str, Any], whole: float, network: float) -> str:
    if "missing" in peer:
        return f"PyTorch: {peer['missing']}."
    return (
        f"PyTorch {peer['version']}, {peer['how']}, the same number of parameters; first step after "
        f"{peer['first']:.0f} s. Beside it the whole step here is {peer['whole'] / whole:.2f} times as fast, "
        f"the step on fixed views {peer['network'] / network:.2f} times."
    )


if __name__ == "__main__":
    main()
