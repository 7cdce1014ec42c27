"""Ctrl-C and closed pipes, with processes of their own."""

import os
import signal
import subprocess
import sys
import time

import pytest

# Compiled code that gives other threads room but never looks at signals, as a compiler does.
LONG = "hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1)"


def start(code, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def interrupt(code, after="started"):
    process = start(code)
    lines = []
    while (line := process.stdout.readline().strip()) != after:
        assert line, process.stderr.read()
        lines.append(line)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    return process.returncode, err, time.monotonic() - begun, lines


def test_compiled_code_does_not_hold_ctrl_c_back_and_workers_end_too():
    code = f"""
import hashlib, multiprocessing, time
from dmlp_jax.runtime import interrupts
interrupts.end_promptly("error: interrupted")
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(90,))
worker.start()
print(worker.pid)
print("started", flush=True)
{LONG}
"""
    status, err, seconds, (worker,) = interrupt(code)
    assert (status, err) == (130, "error: interrupted\n")
    assert seconds < 20
    # A moment until the system has taken it down.
    for _ in range(100):
        if not os.path.exists(f"/proc/{worker}"):
            return
        time.sleep(0.1)
    pytest.fail("the worker lives on")


def test_python_that_acts_on_ctrl_c_itself_is_left_to_do_so():
    code = """
import time
from dmlp_jax.runtime import interrupts
interrupts.end_promptly("never")
try:
    print("started", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    # Tidying up may take longer than the patience.
    time.sleep(interrupts.PATIENCE + 0.5)
    interrupts.end(7)
"""
    assert interrupt(code)[:2] == (7, "")


def test_a_background_job_goes_on_ignoring_ctrl_c():
    code = """
import os, signal, time
from dmlp_jax.runtime import interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
interrupts.end_promptly("never")
print("started", flush=True)
time.sleep(2.5)
"""
    assert interrupt(code)[:2] == (0, "")


def test_what_nobody_reads_is_dropped_and_the_command_goes_on(tmp_path):
    code = """
import sys
from dmlp_jax.runtime import console
console.accept_any_text()
console.outlive_readers()
for line in range(5000):
    print("line", line, "\\udcff")
    print("note", line, file=sys.stderr)
print("last", flush=True)
open("done", "w").write("yes")
"""
    command = f"{sys.executable} - 2>&1 | head -1"
    shown = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        input=code,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert shown.returncode == 0
    assert (shown.stdout.count("\n"), shown.stderr) == (1, "")
    assert (tmp_path / "done").read_text() == "yes"
