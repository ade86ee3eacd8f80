"""The commands about sound: transcribe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import DisallowNone

from transformers_jax.cli.files import (
    Files,
    already,
    check_made,
    found,
    made_with,
    naming,
    tell_failed,
    trained,
)
from transformers_jax.json_files import json_text
from transformers_jax.printing import print_line
from transformers_jax.runs.pretrain import keep_compiled_programs
from transformers_jax.training.exported import model_folder


@dataclass(frozen=True, kw_only=True)
class Transcribe:
    """Write down what audio files say, of any length and sampling rate.

    Prints each text; with --out a JSON object for each file, with segments and their times.
    What was interrupted goes on where it was, with the same command.
    """

    files: Files
    model: str
    """a directory or a hub id"""
    language: DisallowNone[str | None] = None
    """an English name or a code; found by the model without it"""
    task: DisallowNone[Literal["transcribe", "translate"] | None] = None
    """translate: into English"""
    timestamps: DisallowNone[Literal["none", "segments", "words"] | None] = None
    method: DisallowNone[Literal["windows", "chunks"] | None] = None
    """long audio window after window, or in chunks side by side"""
    chunk: DisallowNone[float | None] = None
    """seconds that a model of frames (Wav2Vec2, HuBERT) reads at once; 30 without it"""
    batch: int = 8
    """windows that are decoded at once"""
    prompt: DisallowNone[str | None] = None
    """a text taken as said before, for names and spelling"""
    condition_on_previous: bool = False
    """tell each window what the one before said"""
    num_beams: DisallowNone[int | None] = None
    on_error: Literal["stop", "skip"] = "stop"
    """skip: a file that cannot be read gets a line with its error, and the others are done"""
    dtype: str = "float32"
    """of the parameters: float32, bfloat16, auto, ..."""
    out: DisallowNone[str | None] = None
    """a .jsonl file"""
    srt: bool = False
    """subtitles beside each file, NAME.srt"""
    vtt: bool = False
    """subtitles beside each file, NAME.vtt"""

    def run(self) -> None:
        """Transcribes the files one after the other."""
        import transformers_jax as tj
        from transformers_jax.data.files import SOUNDS
        from transformers_jax.publish import publish
        from transformers_jax.speech import UnreadableAudio, srt, vtt

        keep_compiled_programs()
        files = found(self.files, SOUNDS)
        out = None if self.out is None else Path(self.out).expanduser()
        done = 0
        if out is not None:
            done = already(out, files)
            check_made(out, made_with(self), done)
        folder = model_folder(self.model)
        with trained(self.model, "it was not trained to write down what is said"):
            model: Any = tj.from_pretrained(folder, dtype=self.dtype)
        processor = tj.load_processor(folder)
        failed = 0
        for file in files[done:]:
            try:
                said = self._transcript(model, processor, file, _sound(processor, file))
            except UnreadableAudio as error:
                text = naming(file, error)
                if self.on_error == "stop":
                    more = " (--on-error skip goes on with the others)" * (len(files) > 1)
                    raise ValueError(f"{text}{more}") from None
                failed += 1
                print_line(f"left out: {text}", error=True)
                if out is not None:
                    _append(out, {"file": str(file), "error": text})
                continue
            if out is None:
                print_line(said.text if len(files) == 1 else f"{file}: {said.text}")
            else:
                _append(out, {"file": str(file), **said.to_dict()})
            for wanted, ending, write in ((self.srt, ".srt", srt), (self.vtt, ".vtt", vtt)):
                if wanted:
                    publish(file.with_suffix(ending), write(said))
        tell_failed(failed, len(files) - done)
        if out is not None:
            print_line(f"wrote {out}")

    def _transcript(self, model: Any, processor: Any, file: Path, sound: Any) -> Any:
        """What one file says."""
        import transformers_jax as tj
        from transformers_jax.data.progress import live

        options: dict[str, Any] = {} if self.num_beams is None else {"num_beams": self.num_beams}
        with live(file.name, lambda line: print_line(line, error=True)) as show:
            return tj.transcribe(
                model,
                sound,
                processor=processor,
                language=self.language,
                task=self.task,
                timestamps=self.timestamps,
                method=self.method,
                chunk=self.chunk,
                batch=self.batch,
                prompt=self.prompt,
                condition_on_previous=self.condition_on_previous,
                show=lambda share: show(f"{file.name}: {share:.0%}"),
                **options,
            )


def _sound(processor: Any, file: Path) -> Any:
    """The samples of a file at the model's rate; of a model that reads none, the file, which
    `tj.transcribe` refuses with what it needs."""
    from transformers_jax.speech import UnreadableAudio

    if getattr(processor, "audio_processor", None) is None:
        return str(file)
    try:
        return processor.audio_processor.samples(str(file), resample=True)
    except ValueError as error:
        raise UnreadableAudio(str(error)) from None


def _append(out: Path, line: dict[str, Any]) -> None:
    """Writes a line of JSON behind those that there are."""
    with out.open("a", encoding="utf-8") as lines:
        lines.write(json_text(line, ensure_ascii=False) + "\n")
