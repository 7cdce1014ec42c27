import json

import pytest

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
    progress = Progress("pretrain", epochs=100, seconds=0.0, done=20)
    assert progress.due()
    progress.count(320)
    progress.show(60.5, "loss 1.0")
    out = capsys.readouterr().out
    assert "epoch 60.5/100" in out
    assert "images/s" in out
    assert "left" in out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_seconds_are_readable(seconds, text):
    assert format_seconds(seconds) == text


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    import sys

    from dmlp_jax.errors import UserError

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match="pip install tensorboardX"):
        MetricsLog(tmp_path / "m.jsonl", tensorboard=True)
