"""A run that hangs is ended with a stack trace; a slow one is not ended."""

import subprocess
import sys
import textwrap
import time

import pytest

from transformers_jax.training.watchdog import EXIT_CODE, STACKS, Watchdog


@pytest.fixture
def left():
    """The codes that the process would have ended with."""
    return []


def test_a_step_that_hangs_ends_the_process_and_shows_where(tmp_path):
    code = f"""
        import time
        from transformers_jax.training.watchdog import Watchdog
        def stuck_in_a_collective():
            time.sleep(60)
        with Watchdog({str(tmp_path)!r}, least=0.3) as watchdog:
            for step in range(1, 5):
                watchdog.step_finished(step)
            stuck_in_a_collective()
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == EXIT_CODE == 124
    assert time.monotonic() - began < 20
    stacks = (tmp_path / STACKS).read_text()
    for output in (stacks, done.stderr):
        assert "stuck_in_a_collective" in output
        assert "step 5 has not ended within 0.3 s (step 4 was the last" in output


def test_steps_in_time_and_extended_limits_keep_it_quiet(tmp_path, left):
    with Watchdog(tmp_path, least=0.2, leave=left.append) as watchdog:
        for step in range(4):
            time.sleep(0.05)
            watchdog.step_finished(step)
        with watchdog.allow("evaluating", 30):
            time.sleep(0.5)
        watchdog.step_finished(5)
    assert left == []
    assert not (tmp_path / STACKS).exists()


def test_extended_limits_end_too(tmp_path, left, capfd):
    with Watchdog(tmp_path, least=5, leave=left.append) as watchdog:
        watchdog.step_finished(1)
        with watchdog.allow("saving", 0.1):
            time.sleep(0.2)
            end = time.monotonic() + 5
            while not left and time.monotonic() < end:
                time.sleep(0.01)
    assert left == [EXIT_CODE]
    assert "saving has not ended within 0.1 s (step 1 was" in capfd.readouterr().err


def test_the_limit_is_ten_median_steps_or_the_least(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("transformers_jax.training.watchdog.time.monotonic", lambda: now[0])
    watchdog = Watchdog(tmp_path, least=120)
    for step, seconds in enumerate((500, 30, 30, 4000, 30)):  # the first is no step's time
        now[0] += seconds
        watchdog.step_finished(step)
    assert watchdog.limit() == 300
    with watchdog.allow("evaluating"):
        now[0] += 900
    watchdog.step_finished(9)
    assert watchdog.limit() == 300  # that time was no step's either
    assert Watchdog(tmp_path, least=120).limit() == 120


def test_a_limit_of_zero_is_refused(tmp_path):
    with pytest.raises(ValueError, match="least"):
        Watchdog(tmp_path, least=0)
