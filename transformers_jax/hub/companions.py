"""The files of the tokenizer or the processor in the directory of a model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from transformers_jax.hub.files import confined

COMPANIONS = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("tokenizer.model", "chat_template.jinja", "preprocessor_config.json", "spm.model"),
    "processor_config.json",
    *("source.spm", "target.spm", "target_vocab.json", "*.model"),
)


def companions(folder: Path) -> list[Path]:
    """Those of these files that a directory holds."""
    files = (file for pattern in COMPANIONS for file in folder.glob(pattern) if file.is_file())
    return [*dict.fromkeys(files)]


def copy_companions(origin: Path, folder: Path) -> Iterator[str]:
    """Copies the files of a directory, as they are; yields their names.

    Raises:
        ValueError: one is a link that leads out of the directory.
    """
    for file in companions(origin):
        shutil.copyfile(confined(file, origin), folder / file.name)
        os.chmod(folder / file.name, 0o644)
        yield file.name
