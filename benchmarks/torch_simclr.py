"""Times the SimCLR step of `pretrain.py` in idiomatic PyTorch.

    python benchmarks/torch_simclr.py '{"model": "resnet18", ...}'

`pretrain.py` runs it in a separate process, so that the two libraries do not share the device's memory, and
reads the JSON object in its last line. It uses channels_last, automatic mixed precision for bfloat16, cuDNN's
search for the fastest convolution, and torch.compile for views, network and loss where a compiler works.
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)


class Block(nn.Module):
    """A basic or bottleneck block, without and with a projection."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        out = 4 * width if bottleneck else width
        plan = [(width, 3, stride), (width, 3, 1)]
        if bottleneck:
            plan = [(width, 1, 1), (width, 3, stride), (out, 1, 1)]
        layers, entering = [], channels
        for leaving, size, step in plan:
            layers += [
                nn.Conv2d(entering, leaving, size, step, size // 2, bias=False),
                nn.BatchNorm2d(leaving),
            ]
            layers += [nn.ReLU(inplace=True)]
            entering = leaving
        self.body = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Identity()
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[b, channels, h, w] to [b, out, h / stride, w / stride]."""
        return functional.relu(self.body(x) + self.shortcut(x))


class ContrastiveResNet(nn.Module):
    """ResNet-18, -34 or -50 with the stem for CIFAR, and a projection head.

    Args:
        model: 'resnet18', 'resnet34' or 'resnet50'.
        head: widths of the head's layers; the last is the output's.
        norm: batch norm in the head's hidden layers.
        bias: a bias in the head's output.
    """

    def __init__(self, model: str, head: list[int], norm: bool, bias: bool):
        super().__init__()
        sizes = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}[model]
        bottleneck = model == "resnet50"
        layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
        channels = 64
        for stage, size in enumerate(sizes):
            for index in range(size):
                width, stride = 64 * 2**stage, 2 if stage and not index else 1
                layers.append(Block(channels, width, stride, bottleneck))
                channels = width * (4 if bottleneck else 1)
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        layers = []
        for width in head[:-1]:
            layers.append(nn.Linear(channels, width, bias=not norm))
            layers += [nn.BatchNorm1d(width)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            channels = width
        self.head = nn.Sequential(*layers, nn.Linear(channels, head[-1], bias=bias))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Projections [b, out] of images [b, 3, h, w]."""
        return self.head(self.encoder(images))


def random_view(images: torch.Tensor, area: float, strength: float, gray_prob: float) -> torch.Tensor:
    """Crop, flip, jitter and grey of images [b, 3, h, w] in [0, 1], as dmlp_jax.data.augment has them.

    Args:
        images: float32.
        area: smallest crop as a share of the image.
        strength: of the colour jitter.
        gray_prob: probability of greyscale.
    """
    b, _, height, width = images.shape

    def uniform(low=0.0, high=1.0, *, count=b):
        return torch.empty(count, 1, 1, 1, device=images.device).uniform_(low, high)

    root, ratio = uniform(area, 1.0).sqrt(), (0.5 * uniform(math.log(3 / 4), math.log(4 / 3))).exp()
    sides = [(root / ratio).clamp(max=1.0).view(b, 1), (root * ratio).clamp(max=1.0).view(b, 1)]
    starts = [uniform().view(b, 1) * (1 - side) for side in sides]
    flip = torch.where(uniform().view(b, 1) < 0.5, -1.0, 1.0)
    centres = [(torch.arange(n, device=images.device) + 0.5) / n for n in (height, width)]
    y = 2 * (starts[0] + sides[0] * centres[0]) - 1
    x = 2 * (starts[1] + sides[1] * (0.5 + flip * (centres[1] - 0.5))) - 1
    grid = torch.stack([x[:, None, :].expand(b, height, width), y[:, :, None].expand(b, height, width)], -1)
    cropped = functional.grid_sample(images, grid, "bilinear", padding_mode="border", align_corners=False)

    low, high = max(0.0, 1 - 0.8 * strength), 1 + 0.8 * strength
    view = (cropped * uniform(low, high)).clamp(0, 1)
    mean = luma(view).mean((2, 3), keepdim=True)
    view = (mean + uniform(low, high) * (view - mean)).clamp(0, 1)
    grey = luma(view)
    view = (grey + uniform(low, high) * (view - grey)).clamp(0, 1)
    view = shift_hue(view, uniform(-0.2 * strength, 0.2 * strength)[:, 0])
    view = torch.where(uniform() < 0.8, view, cropped)
    return torch.where(uniform() < gray_prob, luma(view).expand_as(view), view)


def luma(images: torch.Tensor) -> torch.Tensor:
    """[b, 1, h, w] of [b, 3, h, w]."""
    return LUMA[0] * images[:, :1] + LUMA[1] * images[:, 1:2] + LUMA[2] * images[:, 2:]


def shift_hue(images: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Images [b, 3, h, w] with their HSV hue turned by `turn` [b, 1, 1] of the circle."""
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, 1.0)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * turn

    def channel(offset):
        place = torch.remainder(sector + offset, 6.0)
        return value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)

    return torch.stack([channel(5.0), channel(3.0), channel(1.0)], 1)


def nt_xent(projections: torch.Tensor, temperature: float) -> torch.Tensor:
    """Of projections [2b, d], the second views after the first; float32."""
    rows = functional.normalize(projections.float())
    logits = rows @ rows.T / temperature
    logits = logits.masked_fill(torch.eye(len(rows), dtype=torch.bool, device=rows.device), float("-inf"))
    half = len(rows) // 2
    return functional.cross_entropy(logits, torch.arange(len(rows), device=rows.device).roll(half))


class Step:
    """One SimCLR update on a device.

    Args:
        settings: with model, batch_size, image_size, dtype, projection (widths), projection_norm,
            projection_bias, optimizer (sgd or momentum), lr, momentum, weight_decay, decay_all, temperature,
            crop_min_area, color_strength, gray_prob.
        device: to run on.
        compiled: whether torch.compile is used.
    """

    def __init__(self, settings: dict, device: torch.device, compiled: bool):
        self.settings, self.device = settings, device
        compile_ = torch.compile if compiled else lambda function: function
        head = [settings[name] for name in ("projection", "projection_norm", "projection_bias")]
        network = ContrastiveResNet(settings["model"], *head)
        network = network.to(device, memory_format=torch.channels_last).train()
        self.parameters = sum(part.numel() for part in network.parameters())
        matrices = [part for part in network.parameters() if part.ndim > 1]
        vectors = [part for part in network.parameters() if part.ndim <= 1]
        decay = settings["weight_decay"]
        groups = [(matrices, decay), (vectors, decay if settings["decay_all"] else 0.0)]
        self.optimizer = torch.optim.SGD(
            [{"params": parameters, "weight_decay": amount} for parameters, amount in groups],
            lr=settings["lr"], momentum=settings["momentum"], nesterov=settings["optimizer"] == "sgd",
            fused=True,
        )  # fmt: skip
        self.network, self.view, self.loss = compile_(network), compile_(random_view), compile_(nt_xent)

    def views(self, images: torch.Tensor) -> torch.Tensor:
        """Two views [2b, 3, h, w] of images [b, 3, h, w], uint8."""
        floats = images.float() / 255
        chosen = [self.settings[name] for name in ("crop_min_area", "color_strength", "gray_prob")]
        pair = torch.cat([self.view(floats, *chosen), self.view(floats, *chosen)])
        return pair.contiguous(memory_format=torch.channels_last)

    def learn(self, views: torch.Tensor) -> None:
        """Forward, loss, backward and update on two views."""
        low = self.settings["dtype"] == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            projections = self.network(views)
        loss = self.loss(projections, self.settings["temperature"])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def measured(settings: dict, device: torch.device, compiled: bool) -> dict[str, float]:
    """Seconds of 'views', 'network' (the update on fixed views), 'whole', its 'processor' time, 'first'."""
    step = Step(settings, device, compiled)
    b, side = settings["batch_size"], settings["image_size"]
    data = torch.randint(0, 256, (max(b, settings["rows"]), 3, side, side), dtype=torch.uint8, device=device)
    order = torch.randperm(len(data), device=device)[:b]

    def whole():
        step.learn(step.views(data[order]))

    start = time.perf_counter()
    median(whole, device, 1, 1)
    first = time.perf_counter() - start
    fixed, repeats, calls = step.views(data[order]), settings["repeats"], settings["calls"]
    return {
        "views": median(lambda: step.views(data[order]), device, repeats, calls),
        "network": median(lambda: step.learn(fixed), device, repeats, calls),
        "whole": median(whole, device, repeats, calls),
        "processor": processor_seconds(whole, repeats),
        "first": first,
        "parameters": step.parameters,
    }


def median(function: Callable[[], object], device: torch.device, repeats: int, calls: int) -> float:
    """Median seconds of a call after a few that warm up; launches of `calls` overlap with the work."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(calls):
        function()
    wait()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        wait()
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def processor_seconds(function: Callable[[], object], repeats: int) -> float:
    """Least processor time of a call, all threads together; on a CPU, where nothing is left running."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Prints the result as JSON."""
    settings = json.loads(sys.argv[1])
    gpu = torch.cuda.is_available() and os.environ.get("JAX_PLATFORMS") != "cpu"
    device = torch.device("cuda" if gpu else "cpu")
    settings["calls"] = 20 if gpu else 1
    torch.backends.cudnn.benchmark = True
    how = "torch.compile"
    try:
        if not settings["compile"]:
            raise RuntimeError("off")
        result = measured(settings, device, compiled=True)
    except Exception as error:
        # Compilers fail in many ways, most of them for want of a C++ compiler or of Triton.
        how = f"torch.compile did not work: {str(error).strip().splitlines()[0][:100]}"
        how = "without torch.compile" if str(error) == "off" else how
        result = measured(settings, device, compiled=False)
    print(json.dumps({**result, "how": how, "version": torch.__version__, "gpu": gpu}))


if __name__ == "__main__":
    main()
