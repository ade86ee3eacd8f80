"""The corpus of a run: splits, mixture shares, separators, sentences, and folders of tokens."""

import dataclasses
import hashlib

import numpy as np
import pytest

from tests.data.token_writing import breaks, document, write_tokens
from transformers_jax.data import corpus as corpora
from transformers_jax.data import documents, python_docs
from transformers_jax.data.config import Data
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.python_docs import Document
from transformers_jax.data.tokenizers import train_tokenizer

DOCUMENTS = [
    Document(
        f"m{n // 3}",
        f"f{n}",
        f"Returns number {n} of the naïve list, {n * n} in all.\n\n"
        f"Raises: nothing {'x' * (n % 5)}.",
    )
    for n in range(60)
]


@pytest.fixture
def docs(monkeypatch):
    splits = {s: [d for d in DOCUMENTS if python_docs.split_of(d.module) == s] for s in
              ("train", "validation")}  # fmt: skip
    monkeypatch.setattr(python_docs, "load", lambda: splits)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("".join(f"Line {n}: naïve {n * n}, 雪.\n" for n in range(200)))
    return str(path)


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"Document {n}. It has Two sentences.\n" for n in range(300)))
    return str(path)


def digest(ids):
    return hashlib.sha256(np.asarray(ids).astype(np.int32).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("source", "kind", "train", "held_out"),
    [  # pinned: runs that were begun go on with the very same ids
        ("docs", "byte", "2d1b8652baf3dc8c", "e46b6f75aff1cfce"),
        ("docs", "character", "e46a74de6de71157", "fc4a9f8752e8e5cb"),
        ("docs", "bpe", "cdd99be3e81b4aff", "0f905ba1d1957799"),
        ("text", "byte", "e8e2d06c48b1dfe6", "f0a4f3f258c46018"),
        ("text", "character", "ce08b30270cc2bd0", "6c833d39cecf1249"),
        ("text", "bpe", "457da6589dfc625c", "09b1d4b6568fc244"),
    ],
)
def test_a_stream_of_text_is_the_same_for_ever(docs, text, source, kind, train, held_out):
    path = "python_docs" if source == "docs" else text
    corpus = load_corpus(Data(path=path, tokenizer=kind, vocab_size=300))
    assert digest(corpus.parts[0].tokens.ids) == train
    assert digest(corpus.evaluation[""].ids) == held_out


def test_documents_are_held_out_by_their_text_and_duplicates_with_them(tmp_path):
    words = [f"document {n % 50}" for n in range(100)]  # each twice
    path = tmp_path / "a.txt"
    path.write_text("\n".join(words))
    settings = Data(path=str(path), tokenizer="byte", documents="line", eval_fraction=0.3)
    corpus = load_corpus(settings)
    sides = [
        {bytes(document(t, d).tolist()) for d in range(len(t))}
        for t in (corpus.parts[0].tokens, corpus.evaluation[""])
    ]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert corpus.documents["train"] + corpus.documents["validation"] == 100
    path.write_text("\n".join([*words, "document new"]))  # the others stay where they are
    more = load_corpus(settings)
    again = {
        bytes(document(more.evaluation[""], d).tolist())
        for d in range(more.documents["validation"])
    }
    assert sides[1] <= again <= sides[1] | {b"document new\n"}


def test_a_token_or_a_separator_is_behind_every_document(lines):
    settings = Data(path=lines, tokenizer="byte", documents="line")
    plain = load_corpus(settings)
    tokens = plain.parts[0].tokens
    assert all(document(tokens, d)[-1] == ord("\n") for d in range(len(tokens)))
    ended = load_corpus(settings, eos=True, roles=("pad",))
    eos = ended.tokenizer.vocabulary().need("eos")
    tokens = ended.parts[0].tokens
    assert (np.asarray(tokens.ids) == eos).sum() == len(tokens)
    assert all(document(tokens, d)[-1] == eos for d in range(len(tokens)))
    assert ended.bytes_per_token[""] == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("kind", ["byte", "character", "bpe", "wordpiece", "unigram"])
def test_sentence_offsets_point_at_the_starts_of_sentences(lines, kind):
    settings = Data(path=lines, tokenizer=kind, documents="line", vocab_size=320)
    corpus = load_corpus(settings, sentences=True, eos=True)
    tokens, tokenizer = corpus.parts[0].tokens, corpus.tokenizer
    for d in range(20):
        marks, ids = breaks(tokens, d), document(tokens, d)
        assert len(marks) == 2
        assert tokenizer.decode(ids[marks[1] :]).strip().startswith("It has")
        assert tokenizer.decode(ids[: marks[1]]).strip().startswith("Document")


def test_the_rule_of_sentences():
    starts = documents.sentence_starts(
        "One. Two? \u201cThree!\u201d 4 is e.g. five.\n\nsix (a.) Seven.  "
    )
    text = "One. Two? \u201cThree!\u201d 4 is e.g. five.\n\nsix (a.) Seven.  "
    assert [text[i : i + 3] for i in starts] == ["One", "Two", "\u201cTh", "4 i", "six", "Sev"]
    assert documents.sentence_starts("") == [0]


def test_mixture_shares_are_explicit_or_follow_from_sizes(text, lines):
    settings = Data(mixture=(f"{text}=0.25", f"{lines}=0.75"), tokenizer="byte", documents="line")
    corpus = load_corpus(settings)
    assert [(part.name, part.share) for part in corpus.parts] == [(text, 0.25), (lines, 0.75)]
    sizes = np.array([len(part.tokens.ids) for part in corpus.parts])
    for temperature in (1.0, 2.0):
        by_size = load_corpus(
            dataclasses.replace(settings, mixture=(text, lines), temperature=temperature)
        )
        shares = [part.share for part in by_size.parts]
        np.testing.assert_allclose(
            shares, sizes ** (1 / temperature) / sum(sizes ** (1 / temperature))
        )
    assert len(corpus.evaluation[""]) == corpus.documents["validation"] > 0
    assert corpus.fingerprint != by_size.fingerprint


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (("a=0.5", "b=0.6"), "sum to 1.1"),
        (("a=0.5", "b"), "1 of 2 sources a share"),
        (("a=1.5", "b=-0.5"), "must be positive"),
        (("a=nan", "b=1"), "must be positive and sum to 1"),
        (("a=0.5", "b=inf"), "must be positive and sum to 1"),
        (("a=0.5", "a=0.5"), "twice"),
    ],
)
def test_invalid_mixture_shares_are_refused(mixture, message):
    with pytest.raises(ValueError, match=message):
        corpora.parse_mixture(Data(mixture=mixture))


def test_further_sets_are_evaluated_under_their_names(text, lines):
    corpus = load_corpus(
        Data(path=text, tokenizer="bpe", vocab_size=300, eval_sets=(f"l={lines}",))
    )
    assert set(corpus.evaluation) == {"", "l"}
    assert corpus.bytes_per_token["l"] > 1
    assert set(corpus.documents) == {"train", "validation", "l"}
    for wrong in ("lines", "=x", "l="):
        with pytest.raises(ValueError, match="not NAME=PATH"):
            load_corpus(Data(path=text, eval_sets=(wrong,)))


def test_a_folder_of_tokens_is_read_with_its_own_tokenizer(lines, tmp_path):
    corpus = load_corpus(Data(path=lines, tokenizer="bpe", vocab_size=300, documents="line"))
    out = tmp_path / "tokens"
    write_tokens(out / "train", corpus.parts[0].tokens, shard_size=999)
    write_tokens(out / "validation", corpus.evaluation[""])
    corpus.tokenizer.save(out)
    read = load_corpus(Data(path=str(out)))
    assert read.tokenizer.fingerprint == corpus.tokenizer.fingerprint
    assert read.fingerprint == corpus.fingerprint
    assert read.bytes_per_token == corpus.bytes_per_token
    with pytest.raises(ValueError, match="tokenize --sentences"):
        load_corpus(Data(path=str(out)), sentences=True)
    with pytest.raises(ValueError, match="tokenize --eos"):
        load_corpus(Data(path=str(out)), eos=True)
    for kind in ("none", "byte"):  # whatever a config says that names no other
        own = load_corpus(Data(path=str(out), tokenizer=kind)).tokenizer
        assert own.fingerprint == corpus.tokenizer.fingerprint
    other = train_tokenizer("bpe", ["another text"], 270)
    other.save(tmp_path / "other")
    with pytest.raises(
        ValueError, match=r"and this run has .* pass --data\.tokenizer none"
    ) as error:
        load_corpus(Data(path=str(out), tokenizer=str(tmp_path / "other")))
    assert corpus.tokenizer.fingerprint in str(error.value)
    bare = load_corpus(Data(path=str(out / "train"), eval_fraction=0.2))
    assert bare.documents["train"] + bare.documents["validation"] == corpus.documents["train"]
    corpora.check_ids(bare, 300, "p")
    with pytest.raises(ValueError, match="of the training part"):
        corpora.check_ids(dataclasses.replace(bare, tokenizer=None), 50, "p")


def test_settings_without_evaluation_text_are_refused(tmp_path, text):
    path = tmp_path / "few.txt"
    path.write_text("one\n" * 2000)
    settings = Data(path=str(path), documents="line", tokenizer="byte", eval_fraction=1e-9)
    with pytest.raises(ValueError, match=r"no document is held out .* raise data\.eval_fraction"):
        load_corpus(settings)
    assert load_corpus(dataclasses.replace(settings, eval_path=text)).documents["train"] == 2000
    without = load_corpus(dataclasses.replace(settings, eval_fraction=0))  # as the error says
    assert (without.documents, without.evaluation) == ({"train": 2000}, {})
    assert "none held out" in without.origin


def test_a_tokenizer_must_fit_the_dataset(text):
    with pytest.raises(ValueError, match=r"is text, and data\.tokenizer is none"):
        load_corpus(Data(path=text, tokenizer="none"))
    with pytest.raises(ValueError, match="needs the special token 'eos'"):
        load_corpus(Data(path=text), eos=True, tokenizer=train_tokenizer("byte", [], 0))
