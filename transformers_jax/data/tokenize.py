"""`transformers-jax tokenize`: a source as a folder of tokens, on all cores, and again if stopped.

The arguments are written into the folder first. Where a run was stopped, or a file is damaged, the
same arguments go on behind the last whole shard; others are refused.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import functools
import hashlib
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from transformers_jax.data.documents import batches, encode_batch, open_documents
from transformers_jax.data.file_sums import file_sum
from transformers_jax.data.progress import progress
from transformers_jax.data.splits import check_trained
from transformers_jax.data.texts import Source
from transformers_jax.data.token_folders import (
    ARGUMENTS,
    LEARNED,
    META,
    SHARD_SIZE,
    Writer,
    check_tokenizer,
    check_tokens,
    forget_damaged_shards,
    read_checked,
    read_meta,
)
from transformers_jax.data.tokenizers import MADE, Tokenizer, load_tokenizer, train_tokenizer
from transformers_jax.data.tokens import Encoded, smallest_dtype
from transformers_jax.json_files import as_json, with_digest
from transformers_jax.printing import print_line
from transformers_jax.publish import publish_json, remove_drafts

HASHES = (
    "source_fingerprint",
    "source_sha256",
)  # of the arguments; they say that, not what changed


@dataclass(frozen=True)
class Request:
    """The arguments; all of them decide the bytes that are written."""

    source: str
    tokenizer: str
    field: str = "text"
    documents: str = "file"
    encoding: str = "utf-8"
    eos: bool = False
    sentences: bool = False
    eval_fraction: float = 0.1
    shard_size: int = SHARD_SIZE
    vocab_size: int = 32768
    roles: tuple[str, ...] = ()
    sentinels: int = 0
    modes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.eval_fraction < 1:
            raise ValueError(f"--eval-fraction ({self.eval_fraction}) must lie in [0, 1)")


@dataclass(frozen=True)
class Written:
    """What was written, and how fast (of what this call encoded)."""

    documents: dict[str, int]
    tokens: dict[str, int]
    encoded: int
    seconds: float


def tokenize(
    request: Request,
    out: str | Path,
    *,
    processes: int = 1,
    say: Callable[[str], None] = functools.partial(print_line, error=True),
) -> Written:
    """Writes out/train and out/validation, with the tokenizer beside them, and checks them.

    Args:
        processes: 1 encodes on the threads of the Rust library, which use all cores; more, with
            one thread each, were slower on two cores (10 MB: bpe 328k tokens/s against 159k, byte
            3.4M against 0.6M, the start of the processes included).

    Raises:
        ValueError: a source or tokenizer that cannot be read, a folder that holds something else,
            or that another process writes.
    """
    if processes < 1:
        raise ValueError(f"--processes ({processes}) must be at least 1")
    out = Path(out).expanduser()
    options = {name: getattr(request, name) for name in ("field", "documents", "encoding", "eos")}
    source = open_documents(request.source, fraction=request.eval_fraction, **options)
    if source.ids:
        raise ValueError(f"{request.source} holds ids already; there is nothing to tokenize")
    check_trained(request.source, source.splits, "data.eval-path")
    _check_tokenizer(request, out)
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        parts, separator = source.splits, source.separator
        if source.note:
            say(source.note)
        _claim(out, request, source)
        tokenizer = _tokenizer(request, out, (text + separator for text in parts["train"]))
        end = _end(tokenizer, request.tokenizer) if request.eos else None
        work = functools.partial(
            encode_batch, tokenizer, separator=separator, eos=end, sentences=request.sentences
        )
        if tokenizer.files:  # what no tokenizer.json holds goes to no other process
            processes = 1
        encode = functools.partial(_encoded, work=work, processes=processes)
        began = time.perf_counter()
        encoded = sum(
            _write(out / split, texts, request, tokenizer, encode, say)
            for split, texts in parts.items()
        )
        seconds = time.perf_counter() - began
        tokens = {split: check_tokens(out / split) for split in parts}
    documents = {split: len(one) for split, one in tokens.items()}
    if not documents["train"]:
        raise ValueError(f"{request.source}: all documents are held out; lower --eval-fraction")
    if documents.get("validation") == 0:
        say("no document is held out: raise --eval-fraction, or give data.eval_path when training")
    counts = {split: len(one.ids) for split, one in tokens.items()}
    return Written(documents, counts, encoded, seconds)


Work = Callable[[list[str]], list[Encoded]]


def _write(
    folder: Path,
    texts: Iterable[str],
    request: Request,
    tokenizer: Tokenizer,
    encode: Callable[[Iterator[list[str]]], Iterator[Encoded]],
    say: Callable[[str], None],
) -> int:
    """Writes one split; how many tokens were encoded now."""
    split = folder.name
    if (folder / META).is_file() and _is_done(folder, tokenizer, say):
        say(f"{split}: done before")
        return 0
    writer = Writer(folder, smallest_dtype(tokenizer.max_id), request.sentences, request.shard_size)
    before = writer.documents
    if before:
        say(f"{split}: going on behind {before:,} documents")
    rest = itertools.islice(iter(texts), before, None)
    count = 0
    with progress(split, say) as show:
        for one in encode(batches(rest)):
            writer.add(one)
            count += len(one.ids)
            show(writer.documents, count)
    writer.close(tokenizer=tokenizer.fingerprint, eos=request.eos, split=split)
    return count


def _is_done(folder: Path, tokenizer: Tokenizer, say: Callable[[str], None]) -> bool:
    """Whether a split is whole; what is damaged of it is forgotten, and made anew.

    Raises:
        ValueError: it was made with another tokenizer.
    """
    try:
        check_tokens(folder)
    except ValueError as error:
        say(f"{error} now")
        forget_damaged_shards(folder)
        return False
    if (made := read_meta(folder).get("tokenizer")) != tokenizer.fingerprint:
        raise ValueError(
            f"{folder} was made with the tokenizer {made}, and that of the folder above is "
            f"{tokenizer.fingerprint}; give a new folder"
        )
    return True


def _encoded(some: Iterator[list[str]], work: Work, processes: int) -> Iterator[Encoded]:
    """Documents in order, whatever encodes them; no more batches wait than keep all busy."""
    if processes == 1:
        for texts in some:
            yield from work(texts)
        return
    waiting: collections.deque[Future[list[Encoded]]] = collections.deque()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=_prepare, initargs=(work,)) as pool:
        for texts in some:
            waiting.append(pool.submit(_work, texts))
            if len(waiting) >= 2 * processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


_OWN: list[Work] = []  # of a worker process, filled once when it starts


def _prepare(work: Work) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _OWN[:] = [work]


def _work(texts: list[str]) -> list[Encoded]:
    return _OWN[0](texts)


# ---------------------------------------------------------------- the folder


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One process writes at a time; the lock ends with the process."""
    with open(out / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"{out} is being written by another process") from None
        remove_drafts(out)
        yield


def _claim(out: Path, request: Request, source: Source) -> None:
    """The folder is new, or was begun with the same arguments.

    Raises:
        ValueError: it holds something else.
    """
    arguments = as_json(asdict(request)) | {"source_fingerprint": source.fingerprint}
    if source.held_out in ("size", "ends"):
        arguments["held_out"] = source.held_out  # earlier versions went by the hash
    if source.files:
        content = "".join(map(file_sum, source.files))
        arguments["source_sha256"] = hashlib.sha256(content.encode()).hexdigest()
    file = out / ARGUMENTS
    if not file.is_file():
        if others := sorted(p.name for p in out.iterdir() if p.name != ".lock"):
            raise ValueError(f"{out} holds {', '.join(others[:5])}; give a new folder")
        publish_json(file, with_digest(arguments))
        return
    defaults = {f.name: f.default for f in fields(Request)}  # of arguments that are newer
    before = defaults | {"source_sha256": arguments.get("source_sha256")} | read_checked(file)
    if all((out / split / META).is_file() for split in source.splits):
        before = before | {"held_out": arguments.get("held_out")}  # as whatever version did it
    if names := [name for name in arguments if before.get(name) != arguments[name]]:
        changes = [f"{n}: {before.get(n)!r} -> {arguments[n]!r}" for n in names if n not in HASHES]
        why = (
            ", ".join(changes) or "since then the files of the source, or what is in them, changed"
        )
        raise ValueError(
            f"{out} was begun otherwise ({why}); give the same to go on, or a new folder"
        )


def begun(out: str | Path) -> Request:
    """The arguments with which a folder was begun.

    Raises:
        ValueError: none was begun there.
    """
    file = Path(out).expanduser() / ARGUMENTS
    if not file.is_file():
        raise ValueError(f"{out} was not begun yet: name the source and --tokenizer")
    known, values = {field.name for field in fields(Request)}, read_checked(file)
    tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Request(**{name: value for name, value in (values | tuples).items() if name in known})


def _check_tokenizer(request: Request, out: Path) -> None:
    """The tokenizer that is named can be read, before a folder is claimed for it.

    Raises:
        ValueError: there is none, or it lacks the token at the end of documents.
    """
    if request.tokenizer in MADE or (out / LEARNED).is_file():
        return
    tokenizer = load_tokenizer(request.tokenizer)
    if request.eos:
        _end(tokenizer, request.tokenizer)


def _end(tokenizer: Tokenizer, name: str) -> int:
    if (end := tokenizer.vocabulary().special.get("eos")) is None:
        raise ValueError(
            f"--eos puts the token at the end of a text behind each document, and the tokenizer "
            f"{name} has none; leave --eos out, or take a tokenizer that has one"
        )
    return end


def _tokenizer(request: Request, out: Path, texts: Iterable[str]) -> Tokenizer:
    """The one of the folder, once it is there; else the one that is named, or a learned one."""
    if (out / LEARNED).is_file() and _is_whole(out):
        return load_tokenizer(out)
    if request.tokenizer in MADE:
        roles = tuple(dict.fromkeys([*request.roles, *(["eos"] if request.eos else [])]))
        special = roles, request.sentinels, request.modes
        tokenizer = train_tokenizer(request.tokenizer, texts, request.vocab_size, *special)
    else:
        tokenizer = load_tokenizer(request.tokenizer)
    tokenizer.save(out)
    saved = load_tokenizer(out)
    others = (ARGUMENTS, LEARNED, ".lock")
    files = sorted(file for file in out.iterdir() if file.is_file() and file.name not in others)
    record = {"fingerprint": saved.fingerprint, "sha256": {f.name: file_sum(f) for f in files}}
    publish_json(out / LEARNED, with_digest(record))
    return saved


def _is_whole(out: Path) -> bool:
    """Whether the tokenizer of a folder is what was saved."""
    try:
        check_tokenizer(out)
    except ValueError:
        return False
    return True
