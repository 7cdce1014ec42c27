import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.runtime import timing
from dmlp_jax.training.boards import TensorBoard, WandB
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.progress import Progress, format_seconds


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_json_with_stage_step_and_time(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    log.write("pretrain", 3, {"loss": 1.5})
    log.close()
    (record,) = lines(tmp_path / "m.jsonl")
    assert record.pop("time") > 1e9
    assert record == {"stage": "pretrain", "step": 3, "loss": 1.5}


def test_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"stage": "a", "step": 1}\n{"stage": "a", "st')
    log = MetricsLog(path)
    log.write("a", 2, {})
    log.close()
    assert [record["step"] for record in lines(path)] == [1, 2]


def test_rewinding_removes_later_steps_of_that_stage_only(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    for stage, step in (("a", 1), ("a", 2), ("b", 2), ("a", 3)):
        log.write(stage, step, {})
    log.rewind("a", 1)
    log.write("a", 2, {"again": 1})
    log.close()
    found = [(record["stage"], record["step"], record.get("again")) for record in lines(tmp_path / "m.jsonl")]
    assert found == [("a", 1, None), ("b", 2, None), ("a", 2, 1.0)]


def test_progress_tells_place_rate_and_time_left(capsys):
    clock = Clock()
    progress = Progress("pretrain", epochs=100, seconds=0.0, done=20, clock=clock)
    assert progress.due()
    progress.begin_epoch(60)
    clock.now += 30  # the first call, which is not counted
    progress.first_call_done(60.25)
    progress.count(320)
    clock.now += 2
    progress.show(60.5, "loss 1.0")
    # Half an epoch takes 4 s.
    assert capsys.readouterr().out == "pretrain  epoch 60.5/100  loss 1.0  160 images/s  5 min 16 s left\n"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def told(epochs, *, train=lambda epoch: 3.0, before=0.0, after=0.0, alike_from=0, steps=6):
    """Every estimate of a loop whose times are known, and the time that really was left."""
    clock, pairs = Clock(), []
    progress = Progress("x", epochs, 0.0, work_between=before + after > 0, alike_from=alike_from, clock=clock)
    for epoch in range(epochs):
        progress.prepare_epoch()
        clock.now += before * (3 if epoch == 0 else 1)
        progress.begin_epoch(epoch)
        for step in range(1, steps + 1):
            first = progress.waits_for_first_call
            clock.now += train(epoch) / steps * (10 if first else 1)
            place = epoch + step / steps
            if first:
                progress.first_call_done(place)
            else:
                progress.count(1)
                progress.show(place, "")
            pairs.append((clock.now, progress.seconds_left(place)))
        progress.end_epoch(epoch + 1)
        clock.now += after
        pairs.append((clock.now, progress.seconds_left(epoch + 1)))
    return [(left, clock.now - now) for now, left in pairs[:-1]]


@pytest.mark.parametrize(
    ("options", "unknown"),
    [
        ({}, 1),
        ({"after": 9.0}, 7),
        ({"before": 9.0}, 7),
        ({"before": 4.0, "after": 0.1}, 7),
        ({"train": lambda epoch: 1.0 if epoch < 4 else 20.0, "alike_from": 4}, 29),
        ({"train": lambda epoch: 30.0 if epoch < 4 else 2.0, "alike_from": 4, "after": 5.0}, 35),
    ],
    ids=["even", "long evaluation", "long planning", "both", "a quick warm-up", "a slow warm-up"],
)
def test_the_time_left_is_told_when_it_is_known_and_then_right(options, unknown):
    pairs = told(10, **options)
    assert [left is None for left, _ in pairs].index(False) == unknown
    for left, really in pairs[unknown:]:
        assert really / 2 <= left <= 2 * really + 0.5


def test_a_machine_that_gets_busy_is_noticed():
    pairs = told(40, train=lambda epoch: 3.0 if epoch < 20 else 12.0)
    # Ten epochs later, of which the first ones count little.
    for left, really in pairs[7 * 30 : 7 * 39]:
        assert really / 1.3 <= left <= 1.3 * really


def test_compiling_is_not_counted_even_in_functions_inside_functions():
    elapsed = timing.seconds_without_compiling()

    @jax.jit
    def inner(x):
        time.sleep(0.15)
        return x + 1

    @jax.jit
    def outer(x):
        time.sleep(0.3)
        return inner(x) * 2

    begun = time.perf_counter()
    outer(np.ones(3)).block_until_ready()
    took = time.perf_counter() - begun
    assert took > 0.45
    # Neither the sleeping while tracing nor that inside it, which JAX reports twice, and no more than that.
    assert -0.001 <= elapsed() < took - 0.4
    time.sleep(0.2)
    assert elapsed() >= 0.19


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_seconds_are_readable(seconds, text):
    assert format_seconds(seconds) == text


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match="pip install tensorboardX"):
        TensorBoard(tmp_path)


class FakeRun:
    """What `WandB` uses of a run, as https://docs.wandb.ai/ref/python/run describes it."""

    def __init__(self):
        self.axes, self.lines, self.finished = [], [], False

    def define_metric(self, name, step_metric=None):
        self.axes.append((name, step_metric))

    def log(self, values):
        assert not self.finished
        self.lines.append(values)

    def finish(self):
        self.finished = True


def test_wandb_gets_every_number_on_the_axis_of_its_stage(tmp_path, monkeypatch):
    run, asked = FakeRun(), []
    monkeypatch.setitem(
        sys.modules, "wandb", SimpleNamespace(init=lambda **options: asked.append(options) or run)
    )
    log = MetricsLog(tmp_path / "m.jsonl", [WandB("noisy", tmp_path, {"seed": 3})])
    log.write("pretrain", 1, {"loss": np.float32(1.5)})
    log.write("retrain/naive-given", 1, {"loss": 0.5, "test_accuracy": 0.9})
    log.write("pretrain", 2, {"loss": 1.25})
    log.close()
    assert run.finished
    assert run.lines == [
        {"pretrain/step": 1, "pretrain/loss": 1.5},
        {
            "retrain/naive-given/step": 1,
            "retrain/naive-given/loss": 0.5,
            "retrain/naive-given/test_accuracy": 0.9,
        },
        {"pretrain/step": 2, "pretrain/loss": 1.25},
    ]
    assert run.axes[:2] == [("pretrain/step", None), ("pretrain/*", "pretrain/step")]
    assert len(run.axes) == 4
    WandB("noisy", tmp_path, {})
    first, again = asked
    # A resumed run goes on with the same page.
    assert first["id"] == again["id"]
    assert (first["project"], first["config"], first["resume"]) == ("noisy", {"seed": 3}, "allow")


def test_wandb_is_an_extra_and_says_how_to_log_in(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        WandB("noisy", tmp_path, {})

    def refuse(**_):
        raise ConnectionError("no API key")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    with pytest.raises(UserError, match="no API key; log in"):
        WandB("noisy", tmp_path, {})


def test_wandb_itself_takes_the_numbers(tmp_path):
    """The library, offline, in a process of its own: it starts a service."""
    pytest.importorskip("wandb")
    code = (
        "import sys; from pathlib import Path; from dmlp_jax.training.boards import WandB\n"
        "from dmlp_jax.training.metrics import MetricsLog\n"
        "root = Path(sys.argv[1])\n"
        "log = MetricsLog(root / 'm.jsonl', [WandB('noisy', root, {'seed': 3})])\n"
        "log.write('pretrain', 1, {'loss': 1.5}); log.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_tensorboard_itself_takes_the_numbers(tmp_path):
    pytest.importorskip("tensorboardX")
    log = MetricsLog(tmp_path / "m.jsonl", [TensorBoard(tmp_path / "tensorboard")])
    log.write("pretrain", 1, {"loss": 1.5})
    log.close()
    (events,) = (tmp_path / "tensorboard").glob("events.*")
    assert b"pretrain/loss" in events.read_bytes()
