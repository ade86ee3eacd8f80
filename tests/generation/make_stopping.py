"""Writes the fixtures of test_stopping.py: after which rows of tokens the criterion of transformers
finds a stop string, for tokenizers whose tokens are bytes, words, or parts of both.

    python tests/generation/make_stopping.py  (needs torch, transformers 5.24; not run by tests)
"""

import json
import pathlib
import random

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent / "stopping"
TEXTS = ["stop the top stopper", "a stopped cat, to the end.", "Käse und Brötchen kosten ab 5 €"]
STRINGS = [["stop"], ["\n\n", "the end."], ["ö", " €"], ["op", "stop the", "e"], ["ab"]]


def byte_level():
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<e>"])
    made.train_from_iterator(TEXTS * 3, trainer)
    return made


def word_pieces():
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=["[UNK]"], initial_alphabet=list("abcdef")
    )
    made.train_from_iterator([*TEXTS, "abcdef"], trainer)
    return made


def byte_fallback():
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"abcdefstop▁hnr.,\n"]
    pieces += ["st", "op", "▁the", "stop", "pper", "▁s", "▁▁"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("s", "t"), ("o", "p"), ("st", "op"), ("▁", "s"), ("▁", "▁")]
    made = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>")
    )
    made.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return made


def rows(tokenizer, strings, rng):
    """Rows of tokens that write parts of the strings, cut at any token."""
    size = tokenizer.get_vocab_size()
    made = []
    for _ in range(40):
        text = "".join(rng.choice([*TEXTS, *strings])[rng.randrange(3) :] for _ in range(4))
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        end = rng.randrange(1, len(ids) + 1)
        row = [rng.randrange(size) for _ in range(9)] + ids[:end]
        if rng.random() < 0.2:
            row[-2] = rng.randrange(size)
        made.append(row[-9:])
    return made


def main():
    HERE.mkdir(exist_ok=True)
    rng = random.Random(4)
    for make in (byte_level, word_pieces, byte_fallback):
        inner, cases = make(), []
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner)
        for strings in STRINGS:
            try:
                criterion = transformers.StopStringCriteria(fast, strings)
            except ValueError:  # a vocabulary that cannot write them
                continue
            ids = rows(inner, strings, rng)
            stops = criterion(torch.tensor(ids), None).tolist()
            cases.append({"strings": strings, "ids": ids, "stops": [int(one) for one in stops]})
        whole = {"tokenizer": json.loads(inner.to_str()), "cases": cases}
        (HERE / f"{make.__name__}.json").write_text(json.dumps(whole, ensure_ascii=False) + "\n")
        print(make.__name__, len(cases), [sum(case["stops"]) for case in cases])


if __name__ == "__main__":
    main()
