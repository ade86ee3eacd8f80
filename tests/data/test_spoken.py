"""`generated:spoken_digits`, with a program in place of espeak-ng that writes a tone."""

import os
import stat

import numpy as np
import pytest

from transformers_jax.data.generated import spoken
from transformers_jax.data.tables import open_table

FAKE = """#!{python}
import sys, wave
arguments = sys.argv[1:]
length = 100 * len(arguments[-1].split())
with wave.open(arguments[arguments.index("-w") + 1], "wb") as file:
    file.setparams((1, 2, 22050, 0, "NONE", ""))
    file.writeframes(bytes([0, 64] * length))
"""


def test_without_the_program_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="apt install espeak-ng"):
        open_table("generated:spoken_digits", "train", "utf-8")


def test_digits_are_spoken_word_by_word(monkeypatch, tmp_path):
    import sys

    program = tmp_path / "espeak-ng"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(spoken.COUNTS, "test", 3)
    first, again = spoken.digits("test"), spoken.digits("test")
    assert len({record["text"] for record in first}) == 3
    for record, same in zip(first, again):
        assert len(record["audio"]) == 100 * len(record["text"].split())
        assert record["sampling_rate"] == 22050
        assert set(record["text"].split()) <= set(spoken.WORDS)
        np.testing.assert_array_equal(record["audio"], same["audio"])
