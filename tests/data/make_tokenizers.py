"""Writes tokenizers.json.xz: directories of tokenizers, and what PyTorch makes of them.

    python -m tests.data.make_tokenizers

Small vocabularies are learned offline; each class has a directory of its own files, and one that
transformers saved; options and added tokens vary. Needs transformers 5, tokenizers and
sentencepiece; the tests need only the written file.
"""

import base64
import hashlib
import io
import json
import lzma
import sys
import tempfile
import warnings
from pathlib import Path

import sentencepiece
import tokenizers
import transformers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from tests.data.tokenizer_texts import LINES, pairs, texts

OUT = Path(__file__).with_name("tokenizers.json.xz")
CORPUS = LINES * 3
RULES = {
    "ﬁ": "fi",
    "①": "1",
    "…": "...",
    "½": "1/2",
    "　": " ",
    "\u00a0": " ",
    "\t": " ",
    "\n": " ",
}
RULES |= {chr(0xFF01 + n): chr(0x21 + n) for n in range(94)} | {
    "e\u0301": "é",
    "\r": " ",
    "\u200b": " ",
}


def word_pieces(special, lower=True, size=420):
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=lower)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=special, show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    ids = inner.get_vocab()
    return {"vocab.txt": "".join(f"{token}\n" for token in sorted(ids, key=ids.get)).encode()}


def byte_pairs(special, last=(), size=420):
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    with tempfile.TemporaryDirectory() as folder:
        inner.model.save(folder)
        ids = json.loads((Path(folder) / "vocab.json").read_text())
        merges = (Path(folder) / "merges.txt").read_bytes()
    ids |= {token: len(ids) + n for n, token in enumerate(last)}
    return {"vocab.json": json.dumps(ids, ensure_ascii=False).encode(), "merges.txt": merges}


def small_pairs():
    """BlenderBot-small's: ends of words in the merges, @@ in the vocabulary."""
    inner = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.normalizer = normalizers.Lowercase()
    trainer = trainers.BpeTrainer(vocab_size=300, end_of_word_suffix="</w>", show_progress=False)
    inner.train_from_iterator(CORPUS, trainer)
    with tempfile.TemporaryDirectory() as folder:
        inner.model.save(folder)
        merges = (Path(folder) / "merges.txt").read_bytes()
    special = ["__null__", "__start__", "__end__", "__unk__", "__newln__"]
    tokens = sorted(inner.get_vocab())
    tokens = [t.removesuffix("</w>") if t.endswith("</w>") else f"{t}@@" for t in tokens[:-12]]
    ids = {token: n for n, token in enumerate(dict.fromkeys([*special, *tokens]))}
    return {"vocab.json": json.dumps(ids, ensure_ascii=False).encode(), "merges.txt": merges}


def pieces(name, **options):
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        code = lambda text: " ".join(f"{ord(char):X}" for char in text)
        rules.write_text("".join(f"{code(old)}\t{code(new)}\n" for old, new in RULES.items()))
        options = dict(vocab_size=260, model_type="unigram", character_coverage=0.995) | options
        if options.pop("rules", True):
            options["normalization_rule_tsv"] = str(rules)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS),
            model_writer=model,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            **options,
        )
    return {name: model.getvalue()}


def config(**values):
    return {"tokenizer_config.json": json.dumps(values, ensure_ascii=False).encode()}


def model_type(name, **values):
    return {"config.json": json.dumps({"model_type": name, **values}).encode()}


BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FAIR = ["<s>", "<pad>", "</s>", "<unk>"]
ADDED = {  # as directories before 2023 have them
    "added_tokens.json": b'{"[E1]": 421, "<user>": 420}',
    "special_tokens_map.json": json.dumps({"additional_special_tokens": ["<user>"]}).encode(),
}


def slow_directories():
    """name -> the files of a directory, as its class writes them without tokenizer.json."""
    bert, cased = word_pieces(BERT), word_pieces(BERT, lower=False)
    mpnet = word_pieces(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])
    roberta = byte_pairs(FAIR, last=["<mask>"])
    gpt2 = byte_pairs([], last=["<|endoftext|>"])
    deberta = byte_pairs(["[PAD]", "[CLS]", "[SEP]", "[UNK]"], last=["[MASK]"])
    t5 = pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    fair = pieces("sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2)
    plain = pieces("sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2, rules=False)
    marks = "[CLS],[SEP],[MASK]"
    albert = pieces("spiece.model", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols=marks)
    bird = pieces(
        "spiece.model",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=100,
        user_defined_symbols=marks,
        rules=False,
        control_symbols=",".join(f"<unused_{n}>" for n in range(3, 100)),
        vocab_size=360,
    )
    v2 = pieces(
        "spm.model",
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        rules=False,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
    )
    llama = pieces(
        "tokenizer.model",
        model_type="bpe",
        byte_fallback=True,
        vocab_size=560,
        rules=False,
        remove_extra_whitespaces=False,
    )
    nllb = pieces("sentencepiece.bpe.model", model_type="bpe", vocab_size=400)
    return {
        "bert": bert | model_type("bert"),
        "bert-cased": cased | config(tokenizer_class="BertTokenizer", do_lower_case=False),
        "bert-accents": bert
        | config(
            tokenizer_class="BertTokenizer", strip_accents=False, tokenize_chinese_chars=False
        ),
        "bert-added": bert | model_type("bert") | ADDED,
        "bert-extra": bert
        | config(
            tokenizer_class="BertTokenizerFast",
            additional_special_tokens=["<user>", "[E1]"],
            padding_side="left",
        ),
        "bert-listed": bert
        | config(
            tokenizer_class="BertTokenizer",
            added_tokens_decoder={
                "420": {"content": "<User>", "lstrip": True, "special": False, "normalized": True},
                "421": {"content": "[E1]", "rstrip": True, "special": True, "normalized": False},
            },
        ),
        "electra": bert | model_type("electra"),
        "distilbert": bert | model_type("distilbert"),
        "mpnet": mpnet | model_type("mpnet"),
        "roberta": roberta | model_type("roberta"),
        "roberta-space": roberta
        | config(tokenizer_class="RobertaTokenizer", add_prefix_space=True),
        "bart": roberta | model_type("bart"),
        "longformer": roberta | model_type("longformer"),
        "led": roberta | config(tokenizer_class="LEDTokenizer"),
        "blenderbot": roberta | model_type("blenderbot"),
        "gpt2": gpt2 | model_type("gpt2"),
        "gpt2-bos": gpt2 | config(tokenizer_class="GPT2Tokenizer", add_bos_token=True),
        "deberta": deberta | model_type("deberta"),
        "albert": albert | model_type("albert"),
        "albert-kept": albert
        | config(tokenizer_class="AlbertTokenizer", do_lower_case=False, keep_accents=True),
        "big_bird": bird | model_type("big_bird"),
        "camembert": plain | model_type("camembert"),
        "deberta-v2": v2 | model_type("deberta-v2"),
        "deberta-v2-lower": v2
        | config(tokenizer_class="DebertaV2Tokenizer", do_lower_case=True, split_by_punct=True),
        "xlm-roberta": fair | model_type("xlm-roberta"),
        "mbart": fair | config(tokenizer_class="MBartTokenizer", src_lang="de_DE"),
        "mbart50": fair | config(tokenizer_class="MBart50Tokenizer", src_lang="fr_XX"),
        "nllb": nllb
        | config(tokenizer_class="NllbTokenizer", src_lang="deu_Latn", **_languages(nllb)),
        "nllb-legacy": nllb
        | config(tokenizer_class="NllbTokenizer", legacy_behaviour=True, **_languages(nllb)),
        "t5": t5 | model_type("t5"),
        "mt5": t5 | config(tokenizer_class="T5Tokenizer", extra_ids=0) | model_type("mt5"),
        "longt5": t5 | config(tokenizer_class="T5Tokenizer") | model_type("longt5"),
        "switch": t5 | model_type("switch_transformers"),
        "pegasus": t5 | model_type("pegasus"),
        "llama": llama | config(tokenizer_class="LlamaTokenizer", add_bos_token=True, legacy=False),
        "llama-legacy": llama
        | config(
            tokenizer_class="LlamaTokenizer", add_bos_token=True, add_eos_token=True, legacy=True
        ),
        "llama-bare": llama | model_type("llama"),
        "xlnet": t5 | config(tokenizer_class="XLNetTokenizer", unk_id=2),
        "m2m_100": _m2m(),
        "marian": _marian(),
        "blenderbot-small": small_pairs() | model_type("blenderbot-small"),
        "byt5": config(tokenizer_class="ByT5Tokenizer"),
        "perceiver": config(tokenizer_class="PerceiverTokenizer") | model_type("perceiver"),
    }


def _languages(nllb):
    """NLLB's codes and mask at their ids, without which transformers 5 does not add them."""
    known = sentencepiece.SentencePieceProcessor(model_proto=next(iter(nllb.values())))
    codes = transformers.models.nllb.tokenization_nllb.FAIRSEQ_LANGUAGE_CODES
    first = known.get_piece_size() + 1
    added = {first + n: {"content": code, "special": True} for n, code in enumerate(codes)}
    added[first + len(codes)] = {"content": "<mask>", "special": True, "lstrip": True}
    return {"added_tokens_decoder": added}


def _m2m():
    spm = pieces("sentencepiece.bpe.model", model_type="bpe", vocab_size=400)
    known = sentencepiece.SentencePieceProcessor(model_proto=spm["sentencepiece.bpe.model"])
    tokens = [known.id_to_piece(n) for n in range(3, known.get_piece_size()) if n % 11]
    ids = {token: n for n, token in enumerate([*FAIR, *tokens])}
    codes = transformers.models.m2m_100.tokenization_m2m_100.FAIRSEQ_LANGUAGE_CODES["m2m100"]
    special = {"additional_special_tokens": [f"__{code}__" for code in codes]}
    return (
        spm
        | config(tokenizer_class="M2M100Tokenizer", src_lang="fr", tgt_lang="de")
        | {
            "vocab.json": json.dumps(ids, ensure_ascii=False).encode(),
            "special_tokens_map.json": json.dumps(special).encode(),
        }
    )


def _marian():
    source = pieces("source.spm", vocab_size=240)
    target = pieces("target.spm", vocab_size=200, character_coverage=0.98)
    tokens = dict.fromkeys(["</s>", "<unk>", ">>fr<<", ">>de<<"])
    for spm in (source, target):
        known = sentencepiece.SentencePieceProcessor(model_proto=next(iter(spm.values())))
        tokens |= {known.id_to_piece(n): None for n in range(3, known.get_piece_size()) if n % 13}
    ids = {token: n for n, token in enumerate([*tokens, "<pad>"])}
    return (
        source
        | target
        | model_type("marian")
        | {
            "vocab.json": json.dumps(ids, ensure_ascii=False).encode(),
            "tokenizer_config.json": b'{"source_lang": "en", "target_lang": "fr"}',
        }
    )


WHOLE = {  # saved by transformers with a tokenizer.json, then overridden by its config
    "bert": {"do_lower_case": False, "truncation_side": "left"},
    "distilbert": {},
    "mpnet": {"do_lower_case": False},
    "roberta": {"add_prefix_space": True},
    "gpt2": {"add_prefix_space": True, "add_bos_token": True},
    "deberta": {},
    "blenderbot": {},
    "albert": {"do_lower_case": False},
    "big_bird": {},
    "camembert": {},
    "deberta-v2": {"do_lower_case": True},
    "xlm-roberta": {},
    "mbart": {"src_lang": "en_XX"},
    "nllb": {"src_lang": "fra_Latn"},
    "t5": {},
    "pegasus": {},
    "llama": {"add_eos_token": True},
    "mbart50": {},
    "xlnet": {},
}


def write(files, folder):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def whole_directories(slow, folder):
    """Directories that transformers saved; "json-" ones say no class: they are read as they lie."""
    directories = {}
    for name, changes in WHOLE.items():
        saved = folder / f"whole-{name}"
        transformers.AutoTokenizer.from_pretrained(folder / name).save_pretrained(saved)
        values = json.loads((saved / "tokenizer_config.json").read_text()) | changes
        files = config(**values) | {"tokenizer.json": (saved / "tokenizer.json").read_bytes()}
        directories[f"whole-{name}"] = files
        if name in ("bert", "t5", "roberta"):
            values = {k: v for k, v in values.items() if k.endswith("_token")}
            files = (
                config(tokenizer_class="PreTrainedTokenizerFast", **values)
                | files
                | config(tokenizer_class="PreTrainedTokenizerFast", **values)
            )
            directories[f"json-{name}"] = files
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    directories["modernbert"] = (
        directories["json-roberta"] | config(**values) | model_type("modernbert")
    )
    return directories


def measure(folder, target):
    one = transformers.AutoTokenizer.from_pretrained(folder)
    rows = one(texts())["input_ids"]
    first, second = zip(*pairs())
    both = one(list(first), list(second), return_token_type_ids=True)
    typed = one.is_fast  # the others have types of BERT's, which none of their models reads
    expected = {
        "ids": rows,
        "pair_ids": both["input_ids"],
        "pair_types": both["token_type_ids"] if typed else None,
        "decoded": [one.decode(row, clean_up_tokenization_spaces=False) for row in rows],
        "padding_side": one.padding_side,
        "special": {k: str(v) for k, v in one.special_tokens_map.items() if isinstance(v, str)},
    }
    if target:
        expected["target_ids"] = one(text_target=texts())["input_ids"]
    return expected


def main(only=()):
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    blobs, cases = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        slow = slow_directories()
        for name, files in slow.items():
            write(files, folder / name)
        whole = whole_directories(slow, folder)
        for name, files in whole.items():
            write(files, folder / "again" / name)
        for name, files in (slow | whole).items():
            if only and name not in only:
                continue
            source = folder / name if name in slow else folder / "again" / name
            try:
                case = measure(source, name in ("m2m_100", "marian", "mbart", "nllb"))
            except Exception as error:
                print(f"{name}: {type(error).__name__}: {error}")
                continue
            case["files"] = {}
            for file, content in files.items():
                key = hashlib.sha256(content).hexdigest()[:12]
                case["files"][file] = key
                blobs[key] = base64.b64encode(content).decode()
            cases[name] = case
    stored = {"version": transformers.__version__, "blobs": blobs, "cases": cases}
    content = json.dumps(stored, ensure_ascii=True, separators=(",", ":")).encode()
    OUT.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    print(f"{len(cases)} directories, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
