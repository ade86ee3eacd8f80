"""Makes rows.json.xz: small tokenizers, and the rows that PyTorch transformers makes with them.

    pip install -e ".[parity]" && python tests/data/make_rows.py

Cases that transformers refuses are kept as null.
"""

import json
import lzma
import tempfile
from pathlib import Path

import transformers
from row_cases import ARRAYS, SECOND_TEXTS, TEXTS, WORDS, cases

from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokenizers import train_tokenizer

HERE = Path(__file__).parent
CORPUS = [*TEXTS, *SECOND_TEXTS, *(" ".join(words) for words in WORDS)] * 3
ROLES = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
TOKENIZERS = {  # kind of model, and what tokenizer_config.json says
    "bert": ("wordpiece", {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}),
    "roberta": ("bpe", {"model_input_names": ["input_ids", "attention_mask"]}),
    "t5": ("unigram", {"padding_side": "left", "truncation_side": "left", "model_max_length": 12}),
}


def framed(name, inner):
    """What the family's own tokenizer puts around its texts."""
    from tokenizers import pre_tokenizers, processors

    ids = {token: inner.token_to_id(token) for token in ("<s>", "</s>")}
    if name == "roberta":
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        ends = [(token, ids[token]) for token in ("</s>", "<s>")]
        inner.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=True)


def pieces():
    """SentencePiece's unigrams with T5's end, as the Rust library learns them."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    inner = tokenizers.Tokenizer(models.Unigram())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=70, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return Tokenizer(inner, "loaded", {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"})


def rows(tokenizer, texts, pairs, options):
    """The encoding of transformers for a call; None where it raises an error."""
    options = dict(options)
    tokenizer.truncation_side = options.pop(
        "truncation_side", tokenizer.init_kwargs.get("truncation_side", "right")
    )
    try:
        encoding = tokenizer(texts, pairs, **{"padding": True, **ARRAYS, **options})
    except BaseException:  # a panic of the Rust library is no Exception
        return None
    encoding = dict(
        encoding.data,
        word_ids=[encoding.word_ids(n) for n in range(len(encoding["input_ids"]))],
        sequence_ids=[encoding.sequence_ids(n) for n in range(len(encoding["input_ids"]))],
    )
    return encoding


def main():
    stored = {}
    for name, (kind, config) in TOKENIZERS.items():
        size = 90 if kind == "wordpiece" else 320
        own = train_tokenizer(kind, CORPUS, size, roles=ROLES) if name != "t5" else pieces()
        framed(name, own.inner)
        content = json.loads(own.inner.to_str())
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
        config |= {f"{role}_token": token for role, token in own.special.items()}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "tokenizer.json").write_text(json.dumps(content))
            (Path(folder) / "tokenizer_config.json").write_text(json.dumps(config))
            theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        encodings = [rows(theirs, *case) for case in cases()]
        sample = theirs(TEXTS, SECOND_TEXTS)["input_ids"]
        texts = {
            str(skip): theirs.batch_decode(sample, skip_special_tokens=skip)
            for skip in (True, False)
        }
        stored[name] = dict(
            tokenizer=content, config=config, rows=encodings, decoded=[sample, texts]
        )
        refused = sum(row is None for row in encodings)
        print(f"{name}: {len(encodings)} cases, {refused} refused")
    packed = lzma.compress(json.dumps(stored, separators=(",", ":")).encode())
    (HERE / "rows.json.xz").write_bytes(packed)
    print(f"rows.json.xz: {len(packed)} bytes, by transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
