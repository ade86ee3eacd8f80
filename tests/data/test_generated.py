"""Tables that are made on the spot: the same on every call, with splits that share nothing."""

import collections
import shutil
import sys
import unicodedata

import jax
import numpy as np
import pytest

from transformers_jax.data import generated, python_docs
from transformers_jax.data.config import Table
from transformers_jax.data.generated import TABLES, entities, facts, glyphs, packages, sums, tones
from transformers_jax.data.generated.entities import Documented, Namespace
from transformers_jax.data.generated.splits import SPLITS, split_of
from transformers_jax.data.python_docs import Document
from transformers_jax.data.tables import open_table, read_tables
from transformers_jax.json_files import json_text


def plain(record):
    """A record whose arrays are texts."""
    return jax.tree.map(lambda x: x.tobytes().hex() if isinstance(x, np.ndarray) else x, record)


OTHERS = {
    "digits_by_writer": "digits",
    "digits_few": "digits",
    "two_pictures_swapped": "two_pictures",
    "imports": "imports",
}
"""Tables that are made of the records of another, or are one graph, each with a test of its own."""
SPEAKS = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
HERE = [name for name in TABLES if name not in (*OTHERS, "spoken_digits")]
HERE += [pytest.param("spoken_digits", marks=[pytest.mark.slow, SPEAKS])]


@pytest.mark.parametrize("name", HERE)
def test_a_table_is_the_same_again_and_its_splits_share_no_record(name):
    made = lambda: {split: [*map(plain, TABLES[name](split))] for split in SPLITS}
    tables = made()
    assert tables == made()
    whole = [json_text(record) for records in tables.values() for record in records]
    assert len({*whole}) == len(whole)
    sizes = {split: len(records) for split, records in tables.items()}
    assert min(sizes.values()) > 50, sizes
    assert sizes["train"] > 2 * sizes["validation"], sizes


def test_a_sum_in_steps_is_that_of_its_columns():
    assert sums.steps(418305, 279946) == "5+6+0=11 0+4+1=05 3+9+0=12 8+9+1=18 1+7+1=09 4+2+0=06"
    tables = zip(TABLES["sums"]("test"), TABLES["sums_in_steps"]("test"))
    for direct, stepwise in list(tables)[:200]:
        assert direct["prompt"] == stepwise["prompt"]
        a, b = map(int, direct["prompt"].rstrip("=").split("+"))
        assert direct["response"] == f" {a + b:07}"
        assert stepwise["response"].endswith(f" is{direct['response']}")
        columns = stepwise["response"].split(" is ")[0].split()
        carried = [0, *(int(column[-2]) for column in columns)]
        assert [int(column[4]) for column in columns] == carried[:-1]
        digits = "".join(column[-1] for column in reversed(columns))
        assert int(f"{carried[-1]}{digits}") == a + b


def test_two_in_ten_are_held_out():
    found = [split_of(f"key {n}") for n in range(2000)]
    assert all(150 < found.count(split) < 250 for split in ("validation", "test"))


def test_a_run_reads_two_splits_and_an_evaluation_one(monkeypatch):
    made = lambda split: [{"text": f"{split} {n}"} for n in range(3)]
    monkeypatch.setitem(generated.TABLES, "some", made)
    tables = read_tables(Table(train="generated:some"))
    assert {name: table.records for name, table in tables.items()} == {
        "train": made("train"),
        "validation": made("validation"),
    }
    assert tables["validation"].places[2] == "generated:some, validation 2"
    assert open_table("generated:some[test]", "data")["train"].records == made("test")
    with pytest.raises(ValueError, match="'soem'; did you mean 'some'"):
        open_table("generated:soem", "data")
    with pytest.raises(ValueError, match=r"no split tests; did you mean 'test'.*some\[test\]"):
        open_table("generated:some[tests]", "data")


def test_texts_that_differ_in_spaces_and_case_alone_come_once(monkeypatch):
    texts = ["Return the name.", "return the\n name.", "Return the names."]
    documents = [Document(f"package{n}.module", "f", text) for n, text in enumerate(texts)]
    monkeypatch.setattr(python_docs, "documents", lambda: iter(documents))
    found = packages._docstrings.__wrapped__()
    assert [*found.values()] == [(texts[0], "package0"), (texts[2], "package2")]


def test_packages_are_those_of_the_standard_library_and_four_in_ten_are_of_the_test_split():
    splits = {split: packages.records(split) for split in SPLITS}
    records = [record for some in splits.values() for record in some]
    shares = [round(10 * len(some) / len(records)) for some in splits.values()]
    assert dict(zip(SPLITS, shares)) == {"train": 5, "validation": 1, "test": 4}
    names = {record["label"] for record in records}
    assert len(names) == packages.CLASSES
    assert names <= {*sys.stdlib_module_names}


# ---------------------------------------------------------------- entities

NAMES = Namespace(
    modules=frozenset({"json", "os.path", "socket"}),
    classes=frozenset({"JSONDecoder", "Message", "UUID"}),
    exceptions=frozenset({"ValueError", "JSONError"}),
    functions=frozenset({"join", "raw_decode", "__exit__", "read"}),
    english=frozenset("file message socket read module the a of error".split()),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Decode a JSONDecoder, or raise ValueError.", "JSONDecoder class, ValueError exception"),
        ("Message of the file; a Message object", "Message class"),
        ("the file, 'file', file -- a file", "file parameter, file parameter"),
        ("whether fp and *fp* are", "fp parameter, fp parameter"),
        ("read it with read(), or raw_decode", "read function, raw_decode function"),
        ("os.path.join of self.join and join", "os.path module, join function, join function"),
        ("the socket module, a socket, json", "socket module, json module"),
        ("a UUID, UUID() and the __exit__", "UUID class, __exit__ function"),
    ],
)
def test_names_are_found_by_the_namespace_and_by_how_they_are_written(text, expected):
    one = Documented("some.module", text, frozenset({"file", "fp"}))
    found = entities.entities(text, one, NAMES)
    assert ", ".join(f"{text[a:b]} {label}" for a, b, label in found) == expected


def test_a_module_is_no_name_of_itself_in_passing():
    text = "a json, and the json module"
    of = lambda module: [
        a for a, *_ in entities.entities(text, Documented(module, text, frozenset()), NAMES)
    ]
    assert of("some") == [2, 16]
    assert of("json") == [16]


def test_entities_of_a_module_are_on_one_side():
    sides = [{module for module, _ in entities._paragraphs() if split_of(module) == s}
             for s in SPLITS]  # fmt: skip
    assert all(len(side) > 10 for side in sides)
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    labels = {one["label"] for r in entities.records("test") for one in r["entities"]}
    assert labels == {"module", "class", "exception", "function", "parameter"}


# ---------------------------------------------------------------- facts


def test_an_answer_is_where_the_record_says_and_tells_of_the_person():
    records = facts.records("validation")
    without = sum(not record["answers"]["text"] for record in records)
    assert 0.12 < without / len(records) < 0.2
    for record in records:
        for text, start in zip(*record["answers"].values()):
            assert record["context"][start : start + len(text)] == text
            before = record["context"][:start].rpartition(". ")[2]
            sentence = before + record["context"][start:].partition(".")[0]
            who = [w for w in record["question"].rstrip("?").split() if w[0].isupper()]
            assert who[-1] in sentence.replace(".", "").split(), record


def test_what_is_told_of_whom_is_of_one_split_and_names_are_of_all():
    told, names = [], []
    for split in SPLITS:
        sentences = {s for r in facts.records(split) for s in r["context"][:-1].split(". ")}
        told.append({facts._told(sentence) for sentence in sentences})
        names.append({who for who, *_ in told[-1]})
    assert not told[0] & told[1] | told[0] & told[2] | told[1] & told[2]
    assert min(map(len, told)) > 100
    assert names[0] == names[1] == names[2] == {*facts.NAMES}


def test_who_reads_less_than_the_question_is_often_wrong():
    sentences = ["Ann lives in Rome.", "Bob lives in Oslo.", "Ann works as a cook."]
    answers = {"Where does Ann live?": ["Rome"], "What does Bob work as?": []}
    records = [
        {"question": question, "context": " ".join(sentences), "answers": {"text": texts}}
        for question, texts in answers.items()
    ]
    assert facts.baselines(records) == {"none": 1 / 2, "kind": 1 / 4, "person": 1 / 4}
    found = facts.baselines(facts.records("test"))
    assert found["kind"] < 0.45
    assert found["person"] < 0.92


@pytest.mark.parametrize("relation", facts.RELATIONS)
def test_sentences_and_questions_are_read_as_they_are_written(relation):
    for told in facts.RELATIONS[relation].told:
        sentence = told.format(who="Ann", what="3 May")[:-1]
        assert facts._told(sentence) == ("Ann", relation, "3 May")
    for asked in facts.RELATIONS[relation].asked:
        assert facts._asked(asked.format(who="Ann")) == ("Ann", relation)
    with pytest.raises(ValueError, match="states no fact"):
        facts._told("Ann is here")
    with pytest.raises(ValueError, match="asks for no fact"):
        facts._asked("Is Ann here?")


# ---------------------------------------------------------------- glyphs


def test_a_held_out_character_is_new_and_every_word_of_its_name_is_known():
    trained, held_out = glyphs.records("train"), glyphs.records("test")
    known = {word for record in trained for word in glyphs.words(record["text"])}
    assert len(held_out) == glyphs.HELD_OUT
    for record in held_out:
        assert {*glyphs.words(record["text"])} <= known, record["text"]
        assert split_of(record["text"]) == "test"
    assert not {record["text"] for record in held_out} & {record["text"] for record in trained}
    every = [unicodedata.name(chr(code), "") for code in glyphs._font(glyphs.FACES[0]).characters]
    rest = [name for name in every if name and split_of(name) == "test"]
    assert any(not {*glyphs.words(name)} <= known for name in rest)  # the control


def test_no_two_characters_look_the_same():
    pictures = {record["image"].tobytes() for record in glyphs.records("test")}
    upright = [one for one in glyphs.records("train") if one["face"] == glyphs.FACES[0]]
    assert len(pictures) == glyphs.HELD_OUT
    assert len(upright) == len({record["text"] for record in upright}) > 3000
    image = upright[0]["image"]
    assert image.shape == (32, 32)
    assert image.dtype == np.uint8
    assert image.any()


def test_what_the_pictures_need_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.ImageDraw", None)
    with pytest.raises(ValueError, match=r"generated:glyphs needs the extra `vision`"):
        glyphs._drawn("A", glyphs.FACES[0], (0, 0))


# ---------------------------------------------------------------- pictures


def test_of_two_pictures_that_are_swapped_the_other_is_asked_for():
    first, second = (TABLES[f"two_pictures{more}"]("test") for more in ("", "_swapped"))
    for one, other in zip(first, second, strict=True):
        assert one["prompt"] == other["prompt"]
        assert one["answer"] != other["answer"]
        np.testing.assert_array_equal(one["image"], other["image"][::-1])
    asked = [one["prompt"].split()[-2] for one in first]
    assert 0.4 < asked.count("first") / len(asked) < 0.6


def test_digits_by_writer_have_a_test_split_that_begins_with_a_form():
    splits = {split: TABLES["digits_by_writer"](split) for split in SPLITS}
    assert [one["label"] for one in splits["test"][:30]] == [*range(10)] * 3  # as each form begins
    assert len(splits["test"]) == 382
    assert 110 < len(splits["validation"]) < 170
    key = lambda one: (one["image"].tobytes(), one["label"])
    found = [key(one) for records in splits.values() for one in records]
    every = [key(one) for split in SPLITS for one in TABLES["digits"](split)]
    assert sorted(found) == sorted(every)
    assert len({*found}) == len(found)


def test_few_digits_are_ten_of_each_class_that_all_have_to_train_on():
    few, every = (TABLES[name]("train") for name in ("digits_few", "digits"))
    assert collections.Counter(one["label"] for one in few) == dict.fromkeys(range(10), 10)
    known = {(one["image"].tobytes(), one["label"]) for one in every}
    assert {(one["image"].tobytes(), one["label"]) for one in few} <= known
    assert len(TABLES["digits_few"]("test")) == len(TABLES["digits"]("test"))


# ---------------------------------------------------------------- tones


def test_single_letters_in_morse_code_are_trained_on_alone(monkeypatch):
    monkeypatch.setattr(tones, "COUNTS", dict.fromkeys(SPLITS, 40))
    monkeypatch.setattr(tones, "ALONE", 2)
    made = {split: tones.morse(split) for split in SPLITS}
    texts = {split: [record["text"] for record in records] for split, records in made.items()}
    assert sorted(text for text in texts["train"] if len(text) == 1) == sorted(2 * [*tones.CODES])
    assert {len(text) for split in SPLITS[1:] for text in texts[split]} == {2, 3}
    assert len({text for own in texts.values() for text in own}) == 3 * 40 + len(tones.CODES)
    assert max(len(one["audio"]) for own in made.values() for one in own) <= 2 * tones.RATE
    first, second = made["train"][40:42]  # two recordings of one letter
    assert first["text"] == second["text"]
    assert len(first["audio"]) != len(second["audio"])
    longest = [tones._record("JQY", "test", tones._keyed, take) for take in range(20)]
    assert 6500 < max(len(one["audio"]) for one in longest) <= 2 * tones.RATE
