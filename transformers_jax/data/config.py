"""What a run reads and how it is cut into rows: one frozen record for text, one for tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transformers_jax.data.texts import check_encoding
from transformers_jax.settings import Settings

Rows = Literal["stream", "crops", "packed", "padded", "bucketed"]


@dataclass(frozen=True)
class Data(Settings):
    """Where text comes from and how it is cut."""

    path: str = "python_docs"
    """python_docs, a file or folder of text, JSONL, CSV, Parquet or FASTA, a folder of
    `transformers-jax tokenize`, a .bin / .npy file of token ids, tfds:NAME, or hf:NAME"""
    mixture: tuple[str, ...] = ()
    """several sources in place of path, each PATH=SHARE; shares sum to 1. Without shares, each
    counts as its size to the power of 1 / temperature"""
    temperature: float = 1.0
    eval_path: str | None = None
    """a source of its own for evaluation; otherwise a part of `path`"""
    eval_fraction: float = 0.1
    """how much of `path` is held out for evaluation, where it has no validation split: documents by
    their hash, of very few the end of each; 0: nothing is, and the run is not evaluated"""
    eval_sets: tuple[str, ...] = ()
    """further sets that are evaluated, each NAME=PATH"""
    field: str = "text"
    """where the text of a record is, in JSONL, CSV, Parquet and datasets"""
    encoding: str = "utf-8"
    """of text files, as Python names it: latin-1, cp1252, utf-16, shift_jis, ..."""
    documents: Literal["file", "paragraph", "line"] = "file"
    """what a document of a plain text is"""
    tokenizer: str = "bpe"
    """byte, character, residues (of proteins), or bpe, wordpiece, unigram (learned in the run),
    none (token files), or the path of a tokenizer; unless it is a path, a folder of tokens brings
    its own"""
    vocab_size: int = 2048
    """tokens of a learned tokenizer"""
    length: int = 256
    """tokens that a row predicts, or that an encoder reads"""
    target_length: int | None = None
    """tokens of a row of the decoder's side; what the objective needs if not given"""
    batch: int = 16
    """rows of a step, over all devices and micro-batches"""
    rows: Rows = "stream"
    """stream: all text in a row, cut anywhere; crops: the same, starting anywhere; packed: several
    documents in a row, which do not attend to each other; padded: one document in a row; bucketed:
    the same, with documents of like length in a batch"""
    window: int = 1024
    """documents that are packed together, or sorted into buckets"""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = dict.fromkeys(("length", "target_length", "batch", "window", "vocab_size"), 1)
        self.at_least("data.", **least)
        if not 0 <= self.eval_fraction < 1:
            raise ValueError(f"data.eval_fraction ({self.eval_fraction}) must lie in [0, 1)")
        check_encoding(self.encoding)
        if self.temperature <= 0:
            raise ValueError(f"data.temperature ({self.temperature}) must be positive")


@dataclass(frozen=True)
class Table(Settings):
    """Where the examples of a task come from, and the columns that hold their parts."""

    train: str = ""
    """a file, folder or pattern of CSV, TSV, JSONL or Parquet, of pictures or tar shards of them,
    tfds:NAME, hf:NAME, or a table that is made on the spot: generated:NAME"""
    validation: str | None = None
    """a source of its own for evaluation; otherwise the validation split of `train`, if it has one,
    or a part of it"""
    validation_fraction: float = 0.1
    """how much of `train` is held out, where nothing else is: records by their hash; 0: nothing"""
    text: str | None = None
    """the column of the text; by default that of the task's usual names which there is"""
    text_pair: str | None = None
    """the column of a second text, which the model reads behind the first"""
    audio: str | None = None
    """the column of recordings (transcription, ctc, speech_pretraining)"""
    image: str | None = None
    """the column of pictures (image_classification)"""
    label: str | None = None
    """the column of what is to be predicted"""
    negatives: str | None = None
    """columns, with commas between, of texts that do not belong to the text (embeddings)"""
    encoding: str = "utf-8"
    """of text files, as Python names it"""
    tokenizer: str = ""
    """the path of a tokenizer; by default that of the model. Where there is no model yet, byte,
    character, bpe, wordpiece or unigram: learned from the table that is trained on"""
    vocab_size: int = 2048
    """tokens of a learned tokenizer"""
    processor: str = ""
    """the folder with the processor of pictures or of sound; by default that of the model. Where
    there is no model yet, one is made of the settings below"""
    image_size: int = 0
    """edge that pictures are resized to; 0: what the processor says, or the model reads"""
    image_mean: tuple[float, ...] = ()
    """of each channel, where levels lie between 0 and 1; (): that of the processor, or 0.5"""
    image_std: tuple[float, ...] = ()
    """the deviation, likewise"""
    sampling_rate: int = 0
    """samples a second of the recordings that a new processor takes; 0: those that the table says,
    or 16000"""
    resample: bool = False
    """recordings of another rate are made that of the processor; otherwise they are refused"""
    damaged: Literal["error", "skip"] = "error"
    """what becomes of pictures and recordings that cannot be read: they are named and counted, and
    refused or left out"""
    length: int = 0
    """most tokens of a row; 0: those of the longest, as far as the model can read"""
    too_long: Literal["truncate", "stride", "error"] = "truncate"
    """what becomes of texts that are longer: they are cut; or read in windows, each of which shares
    `stride` tokens with the one before (question answering); or refused"""
    stride: int = 128
    target_length: int | None = None
    """most tokens of a text that is to be written; by default those of the longest"""
    batch: int = 32
    """rows of a step, over all devices and micro-batches"""
    rows: Literal["padded", "bucketed", "packed"] = "bucketed"
    """padded: all rows are as wide as `length`; bucketed: rows of like length are in a batch;
    packed: several texts in a row, which do not attend to each other"""
    window: int = 1024
    """records that are packed together, or sorted into buckets"""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = dict.fromkeys(("target_length", "batch", "window", "vocab_size"), 1)
        self.at_least("data.", **least, length=0, stride=0, image_size=0, sampling_rate=0)
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"data.validation_fraction ({self.validation_fraction}) must lie in [0, 1)"
            )
        check_encoding(self.encoding)

    @property
    def path(self) -> str:
        """What is trained on."""
        return self.train
