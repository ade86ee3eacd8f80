"""Tokenizers of every class against what PyTorch transformers made of the same directories."""

import base64
import fnmatch
import json
import lzma
from pathlib import Path

import pytest

from tests.data.tokenizer_texts import pairs, texts
from transformers_jax.data.classes import slow
from transformers_jax.data.classes.table import ALIASES, CLASS_OF_MODEL, CLASSES
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.hub.companions import COMPANIONS, copy_companions
from transformers_jax.hub.download import PATTERNS

STORED = json.loads(lzma.decompress(Path(__file__).with_name("tokenizers.json.xz").read_bytes()))


def blob(key):
    """The content of a file."""
    return base64.b64decode(STORED["blobs"][key])


def write(name, folder):
    """One of the stored directories."""
    folder.mkdir(exist_ok=True)
    for file, key in STORED["cases"][name]["files"].items():
        (folder / file).write_bytes(blob(key))
    return folder


def rows(batch, key="input_ids"):
    """Rows without padding."""
    return [
        row[mask.astype(bool)].tolist() for row, mask in zip(batch[key], batch["attention_mask"])
    ]


@pytest.mark.parametrize("name", sorted(STORED["cases"]))
def test_a_directory_gives_the_ids_that_its_class_gives(name, tmp_path):
    case = STORED["cases"][name]
    tokenizer = load_tokenizer(write(name, tmp_path))
    if "pad" not in tokenizer.special:
        tokenizer.special["pad"] = next(iter(tokenizer.special.values()))
    known, ids = texts(), case["ids"]
    if name == "byt5":  # PyTorch's puts no </s> behind a </s>, and warns that it will
        known, ids = zip(*[one for one in zip(known, ids) if not one[0].endswith("</s>")])
    assert rows(tokenizer.batch(known)) == [*ids]
    first, second = zip(*pairs())
    both = tokenizer.batch(first, second, return_token_type_ids=True)
    if name != "byt5":
        assert rows(both) == case["pair_ids"]
    if case["pair_types"] is not None:
        assert rows(both, "token_type_ids") == case["pair_types"]
    assert [tokenizer.decode(row) for row in case["ids"]] == case["decoded"]
    assert tokenizer.padding_side == case["padding_side"]
    special = {f"{role}_token": token for role, token in tokenizer.special.items()}
    assert case["special"].items() <= special.items()


def test_the_fixtures_are_of_every_family_with_a_tokenizer():
    kinds = set()
    for case in STORED["cases"].values():
        files = {
            name: json.loads(blob(key)) for name, key in case["files"].items() if "config" in name
        }
        kinds |= {str(content.get("model_type")) for content in files.values()}
        kinds |= {
            str(content.get("tokenizer_class")).removesuffix("Fast") for content in files.values()
        }
    classes = {ALIASES.get(name, name) for name in kinds} | {
        CLASS_OF_MODEL.get(kind) for kind in kinds
    }
    # one decodes paths, not ids: tests/speech/test_frames.py; one refuses what is no protein:
    # tests/data/test_residues.py
    apart = {"Wav2Vec2CTCTokenizer", "EsmTokenizer"}
    assert set(CLASS_OF_MODEL.values()) - classes == {
        "RoFormerTokenizer",  # refused: it needs jieba
        *apart,
    }
    assert {*CLASSES, *slow.CLASSES} - classes == apart
    assert STORED["version"].startswith("5.")


@pytest.mark.parametrize("name", ["m2m_100", "marian", "mbart", "nllb"])
def test_texts_of_the_target_side_are_read_by_the_target_tokenizer(name, tmp_path):
    case = STORED["cases"][name]
    tokenizer = load_tokenizer(write(name, tmp_path))
    assert rows(tokenizer.target.batch(texts())) == case["target_ids"]


def test_tokens_of_languages_are_in_an_order_that_no_hash_seed_changes(tmp_path):
    """A run that is continued in a new process compares the fingerprint of its tokenizer."""
    tokenizer = load_tokenizer(write("marian", tmp_path))
    codes = [t for t in tokenizer.inner.inner.get_vocab() if t.startswith(slow.CODE)]
    assert len(codes) > 1
    assert sorted(codes, key=tokenizer.inner.inner.token_to_id) == sorted(codes)


def test_languages_are_selected_by_their_codes(tmp_path):
    folder = write("mbart", tmp_path)
    tokenizer = load_tokenizer(folder, src_lang="en_XX", tgt_lang="ro_RO")
    ids = tokenizer.batch(["the cat"])["input_ids"][0].tolist()
    assert ids[-2:] == [2, tokenizer.languages["en_XX"]]
    target = tokenizer.target.batch(["the cat"])["input_ids"][0].tolist()
    assert target == [*ids[:-1], tokenizer.languages["ro_RO"]]
    assert tokenizer.inner.id_to_token(tokenizer.languages["ro_RO"]) == "ro_RO"
    with pytest.raises(ValueError, match=r"'de' is none of its languages \(ar_AR, cs_CZ"):
        load_tokenizer(folder, src_lang="de")
    m2m = load_tokenizer(write("m2m_100", tmp_path / "m2m"), src_lang="de")
    assert m2m.batch(["x"])["input_ids"][0, 0] == m2m.languages["de"]
    with pytest.raises(ValueError, match="has no languages"):
        load_tokenizer(write("bert", tmp_path / "bert"), src_lang="de")


def test_ids_of_a_sentencepiece_model_are_moved_as_its_class_moves_them(tmp_path):
    import sentencepiece

    def both(name, file):
        folder = write(name, tmp_path / name)
        theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / file))
        ids = load_tokenizer(folder).batch(["the cat reads"])["input_ids"][0].tolist()
        return theirs.encode("the cat reads"), ids

    bare, ids = both("xlm-roberta", "sentencepiece.bpe.model")
    assert ids == [0, *(i + 1 for i in bare), 2]
    bare, ids = both("pegasus", "spiece.model")
    assert ids == [*(i + 103 for i in bare), 1]
    bare, ids = both("camembert", "sentencepiece.bpe.model")
    assert ids == [5, *(i + 4 for i in bare), 6]  # <s> and </s> are its pieces, moved by four
    bare, ids = both("t5", "spiece.model")
    assert ids == [*bare, 1]


def test_nllb_without_a_list_of_its_tokens_numbers_languages_behind_its_pieces(tmp_path):
    folder = write("nllb", tmp_path)
    whole = load_tokenizer(folder, src_lang="deu_Latn")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "NllbTokenizer"}')
    from_source = load_tokenizer(folder, src_lang="deu_Latn")
    assert from_source.languages == whole.languages
    assert rows(from_source.batch(texts())) == rows(whole.batch(texts()))


def test_models_decide_where_transformers_5_reads_their_files_without_a_class(tmp_path):
    for kind, like in {"xlm-roberta-xl": "xlm-roberta", "umt5": "t5"}.items():
        folder = write(like, tmp_path / kind)
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        assert rows(load_tokenizer(folder).batch(texts())) == STORED["cases"][like]["ids"]
    folder = write("pegasus", tmp_path / "pegasus")
    special = {"mask_token": "<mask_2>", "additional_special_tokens": ["<mask_1>", "<unk_2>"]}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    tokenizer = load_tokenizer(folder)
    assert [tokenizer.inner.token_to_id(f"<mask_{n}>") for n in (1, 2)] == [2, 3]
    assert rows(tokenizer.batch(texts()[:40])) == STORED["cases"]["pegasus"]["ids"][:40]


def test_the_class_is_read_from_whatever_names_it(tmp_path):
    bert = STORED["cases"]["bert"]["ids"][:40]
    folder = write("bert", tmp_path)
    for model in (
        {"model_type": "encoder-decoder", "encoder": {"model_type": "bert"}},
        {"model_type": "gpt2", "tokenizer_class": "BertTokenizerFast"},
    ):
        (folder / "config.json").write_text(json.dumps(model))
        assert rows(load_tokenizer(folder).batch(texts()[:40])) == bert
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "DistilBertTokenizer"}')
    assert load_tokenizer(folder).returns_types is False


WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat".split()


def test_added_tokens_are_matched_in_a_text(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    bare = load_tokenizer(tmp_path).batch(["the <user> [E1] cat"])["input_ids"][0]
    assert 1 in bare  # unknown, in pieces
    (tmp_path / "added_tokens.json").write_text('{"<user>": 8, "[E1]": 7}')
    config = {"additional_special_tokens": ["[E1]"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    batch = load_tokenizer(tmp_path).batch(["the <user> [E1] cat"])
    assert batch["input_ids"].tolist() == [[2, 5, 8, 7, 6, 3]]
    (tmp_path / "added_tokens.json").write_text('{"<user>": 9}')
    with pytest.raises(ValueError, match="have '<user>' at 9; its id here is 7"):
        load_tokenizer(tmp_path)


def test_an_unsupported_tokenizer_class_is_refused_by_name(tmp_path):
    folder = write("bert", tmp_path)
    config = folder / "tokenizer_config.json"
    config.write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
    with pytest.raises(ValueError, match="BertJapaneseTokenizer needs MeCab or Sudachi"):
        load_tokenizer(folder)
    config.write_text('{"tokenizer_class": "LayoutFooTokenizer"}')
    with pytest.raises(ValueError, match="the class LayoutFooTokenizer, which is not supported"):
        load_tokenizer(folder)
    assert load_tokenizer(folder, tokenizer_class="BertTokenizer").special["cls"] == "[CLS]"
    (folder / "config.json").write_text('{"model_type": "roformer"}')
    config.unlink()
    write("json-bert", folder)
    config.unlink()
    with pytest.raises(ValueError, match=r"RoFormerTokenizer needs jieba.*PreTrainedTokenizerFast"):
        load_tokenizer(folder)
    without_class_rules = load_tokenizer(folder, tokenizer_class="PreTrainedTokenizerFast")
    assert without_class_rules.encode("the").tolist()


def test_a_vocabulary_of_no_class_is_refused_until_one_is_named(tmp_path):
    folder = write("bert", tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"vocab\.txt is a vocabulary, and nothing says of which"):
        load_tokenizer(folder)
    named = load_tokenizer(folder, tokenizer_class="BertTokenizer")
    assert rows(named.batch(texts())) == STORED["cases"]["bert"]["ids"]
    cased = load_tokenizer(folder / "vocab.txt", tokenizer_class="MPNetTokenizer")
    assert "[CLS]" not in cased.special.values()
    with pytest.raises(ValueError, match=r"nor vocab\.json with merges\.txt, which Roberta"):
        load_tokenizer(folder, tokenizer_class="RobertaTokenizer")
    with pytest.raises(ValueError, match=r"T5Tokenizer reads spiece\.model, not vocab\.txt"):
        load_tokenizer(folder / "vocab.txt", tokenizer_class="T5Tokenizer")


@pytest.mark.parametrize("name", ["bert-listed", "roberta", "albert", "llama", "marian", "nllb"])
def test_what_is_saved_reads_as_it_did(name, tmp_path):
    tokenizer = load_tokenizer(write(name, tmp_path / "from"))
    tokenizer.save(tmp_path / "to")
    again = load_tokenizer(tmp_path / "to")
    for text in texts()[:120]:
        assert again.encode(text).tolist() == tokenizer.encode(text).tolist(), text
    for one in (tokenizer, again):
        one.special.setdefault("pad", next(iter(one.special.values())))
    both = [rows(one.batch(texts()[:40], texts()[40:80])) for one in (tokenizer, again)]
    assert both[0] == both[1]
    if tokenizer.target is not None:
        sides = [rows(one.target.batch(texts()[:40])) for one in (tokenizer, again)]
        assert sides[0] == sides[1]


def test_a_tokenizer_json_of_another_kind_than_the_class(tmp_path):
    folder = write("json-bert", tmp_path)
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text('{"model_type": "gpt2"}')  # a model on words of its own
    assert rows(load_tokenizer(folder).batch(texts())) == STORED["cases"]["json-bert"]["ids"]
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    with pytest.raises(ValueError, match="has a WordPiece model, and GPT2Tokenizer has BPE"):
        load_tokenizer(folder)
    unconverted = load_tokenizer(folder, tokenizer_class="PreTrainedTokenizerFast")
    assert (
        unconverted.encode("the cat").tolist()
        == load_tokenizer(folder, tokenizer_class="BertTokenizer").encode("the cat").tolist()
    )


def test_tokenizer_files_are_downloaded_and_copied_by_convert(tmp_path):
    files = {file for one in [*CLASSES.values(), *slow.CLASSES.values()] for file in one.files}
    assert files <= {*COMPANIONS}
    assert all(any(fnmatch.fnmatch(file, pattern) for pattern in PATTERNS) for file in COMPANIONS)
    assert "flax_model.msgpack" not in COMPANIONS
    for name in ("marian", "m2m_100", "nllb"):
        folder, copy = write(name, tmp_path / name), tmp_path / f"{name}-kept"
        copy.mkdir()
        copied = set(copy_companions(folder, copy))
        assert {path.name for path in folder.iterdir()} - copied <= {"config.json"}
        (copy / "config.json").write_text(json.dumps({"model_type": name}))
        assert rows(load_tokenizer(copy).batch(texts())) == STORED["cases"][name]["ids"]


def test_the_tokenizer_class_follows_from_architectures_without_model_type(tmp_path):
    """As prot_bert's and distilgpt2's files of 2019 do."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"architectures": ["BertForMaskedLM"]}))
    assert load_tokenizer(tmp_path).batch(["The cat"])["input_ids"].tolist() == [[2, 5, 6, 3]]
    config.write_text(json.dumps({"architectures": ["MyOwnModel"]}))
    with pytest.raises(ValueError, match="nothing says of which class"):
        load_tokenizer(tmp_path)
