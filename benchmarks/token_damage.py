"""Flips random bits in the files of a folder of tokens, and counts how many a start notices.

    python -m benchmarks.token_damage --flips 50

Each flip is one bit of one byte, drawn evenly over all bytes of all files. "Noticed" means that
what a run does with the folder at its start, verification in the background included, ends in an
error that names a file of the folder. Then the folder is put back, and must be read without error.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from transformers_jax.data.config import Data
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.tokenize import Request, tokenize
from transformers_jax.data.verification import Verification


def start(folder: Path) -> None:
    """What a run does with a folder before its end; raises ValueError where that is damaged."""
    verification = Verification(load_corpus(Data(path=str(folder))).expected)
    verification.wait()


def is_noticed(folder: Path) -> bool:
    """Whether a start ends in an error that names a file of the folder."""
    try:
        start(folder)
    except ValueError as error:
        return str(folder) in str(error)
    return False


def main() -> None:
    """Prints how many flips were noticed, by file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as place:
        os.environ["TRANSFORMERS_JAX_CACHE"] = f"{place}/cache"
        source, folder = Path(place, "text.txt"), Path(place, "tokens")
        source.write_text("".join(f"Document {n} says {n * n}.\n" for n in range(5000)))
        request = Request(str(source), "bpe", documents="line", vocab_size=400, shard_size=1 << 15)
        tokenize(request, folder, say=lambda line: None)
        files = sorted(file for file in folder.rglob("*") if file.stat().st_size and file.is_file())
        ends = np.cumsum([file.stat().st_size for file in files])
        missed = []
        for _ in range(options.flips):
            at = int(draw.integers(ends[-1]))
            number = int(np.searchsorted(ends, at, side="right"))
            file, whole = files[number], files[number].read_bytes()
            damaged = bytearray(whole)
            damaged[at - int(ends[number])] ^= 1 << int(draw.integers(8))
            file.write_bytes(bytes(damaged))
            missed += [] if is_noticed(folder) else [file.relative_to(folder)]
            file.write_bytes(whole)
            start(folder)
        noticed = options.flips - len(missed)
        print(
            f"{noticed} of {options.flips} flips noticed, in {len(files)} files; missed: {missed}"
        )


if __name__ == "__main__":
    main()
