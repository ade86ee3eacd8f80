"""Pictures of what a model hears: `transformers-jax inspect MODEL --audio FILE`."""

from __future__ import annotations

import transformers_jax as tj
from tests.speech.test_frames import folder_of
from tests.speech.test_frames import sound as loud  # noqa: F401
from tests.speech.test_transcribe import write
from transformers_jax.cli import main
from transformers_jax.inspection.sounds import draw_sound


def test_a_whisper_is_drawn_with_its_sound_and_its_tokens(whisper, sound, tmp_path, capsys):
    write(tmp_path / "a.wav", sound[:9000])
    command = ["inspect", str(whisper), "--audio", str(tmp_path / "a.wav")]
    assert main([*command, "--out", str(tmp_path / "drawn")]) == 0
    names = {file.name for file in (tmp_path / "drawn").iterdir()}
    assert names == {"sound.png", "alignment.png"}
    assert "wrote" in capsys.readouterr().out
    assert main([*command, "--text", "a"]) == 1
    assert "exclude each other" in capsys.readouterr().err


def test_symbols_of_frames_are_drawn(tmp_path, loud, capsys):  # noqa: F811
    folder = tmp_path / "model"
    folder.mkdir()
    folder_of(folder, True)
    write(tmp_path / "short.wav", loud[:5])
    for name in ("short.wav", "none.wav"):
        command = ["inspect", str(folder), "--audio", str(tmp_path / name)]
        assert main([*command, "--out", str(tmp_path / "nothing")]) == 1
        said = capsys.readouterr()
        assert said.out == ""  # no table above the error
        assert str(tmp_path / name) in said.err
    assert not (tmp_path / "nothing").exists()
    command = ["inspect", str(folder), "--image", str(tmp_path / "short.wav")]
    assert main(command) == 1
    assert ": error: --image: the processor" in capsys.readouterr().err
    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    (drawn,) = draw_sound(model, processor, loud, tmp_path / "drawn")
    assert drawn.name == "alignment.png"
    assert drawn.stat().st_size > 1000
