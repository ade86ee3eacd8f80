"""Makes saved.json.xz: tokenizers of several classes as `save` writes them, and what PyTorch
transformers makes of texts with these files.

    pip install -e ".[parity]" && python tests/data/make_saved.py
"""

import json
import lzma
import tempfile
from pathlib import Path

import transformers
from make_rows import CORPUS, ROLES, framed, pieces
from row_cases import SECOND_TEXTS, TEXTS

from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer

HERE = Path(__file__).parent
COMMON = {"model_max_length": 77, "padding_side": "left", "truncation_side": "left", "their_key": 5}
CLASSES = {  # kind of tokens, and what tokenizer_config.json says
    "BertTokenizer": ("wordpiece", {"do_lower_case": False, "tokenize_chinese_chars": True}),
    "RobertaTokenizer": ("bpe", {"add_prefix_space": True}),
    "GPT2Tokenizer": ("bpe", {"add_prefix_space": False}),
    "PreTrainedTokenizerFast": ("wordpiece", {}),
    "TokenizersBackend": ("unigram", {"model_input_names": ["input_ids", "attention_mask"]}),
}


def main():
    cases = {}
    for name, (kind, more) in CLASSES.items():
        roles = ("pad", "unk", "bos", "eos") if name == "GPT2Tokenizer" else ROLES
        size = 90 if kind == "wordpiece" else 320
        own = pieces() if kind == "unigram" else train_tokenizer(kind, CORPUS, size, roles=roles)
        if name == "RobertaTokenizer":
            framed("roberta", own.inner)
        config = {"tokenizer_class": name, **COMMON, **more}
        config |= {f"{role}_token": token for role, token in own.special.items()}
        content = json.loads(own.inner.to_str())
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            (Path(first) / "tokenizer.json").write_text(json.dumps(content))
            (Path(first) / "tokenizer_config.json").write_text(json.dumps(config))
            loaded = load_tokenizer(first)
            loaded.add_tokens(["[E1]"], special_tokens=True)
            loaded.add_tokens(["two words"])
            loaded.save(second)
            saved = {
                file: json.loads((Path(second) / file).read_text())
                for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
            }
            theirs = transformers.AutoTokenizer.from_pretrained(second)
        texts = [*TEXTS, "the [E1] two words"]
        encodings = {
            "single": dict(theirs(texts, padding=True)),
            "pairs": dict(theirs(TEXTS, SECOND_TEXTS, padding=True)),
            "cut": dict(theirs(texts, padding=True, truncation=True, max_length=9)),
            "length": theirs.model_max_length,
            "sides": [theirs.padding_side, theirs.truncation_side],
        }
        print(name, type(theirs).__name__, encodings["pairs"].keys())
        cases[name] = dict(source=content, config=config, saved=saved, theirs=encodings)
    packed = lzma.compress(json.dumps(cases, separators=(",", ":")).encode())
    (HERE / "saved.json.xz").write_bytes(packed)
    print(f"saved.json.xz: {len(packed)} bytes, by transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
