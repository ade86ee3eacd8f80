"""Calls of `batch` whose rows are compared with those of PyTorch's tokenizers."""

TEXTS = ["The reader reads a text, and gives it back.", "a", "naïve 雪 🙂 readers", ""]
SECOND_TEXTS = ["What is read?", "the reader of texts gives them back and back again", "x", "a b"]
WORDS = [["The", "reader", "reads"], ["naïve", "texts,", "back"], ["a"]]
SECOND_WORDS = [["it", "is"], ["read", "again"], ["gives"]]
ARRAYS = dict(return_offsets_mapping=True, return_special_tokens_mask=True)
WINDOWS = dict(truncation=True, return_overflowing_tokens=True)
OPTIONS = [
    {},
    dict(padding_side="left"),
    dict(padding="max_length", max_length=64),
    dict(padding="max_length", max_length=64, padding_side="left"),
    dict(pad_to_multiple_of=8),
    dict(pad_to_multiple_of=16, padding_side="left"),
    dict(add_special_tokens=False),
    dict(truncation=True, max_length=8),
    dict(truncation=True, max_length=9, truncation_side="left"),
    dict(truncation=True, max_length=16, pad_to_multiple_of=8),
    dict(truncation=True, max_length=7, add_special_tokens=False),
    dict(**WINDOWS, max_length=10, stride=0),
    dict(**WINDOWS, max_length=10, stride=2),
    dict(**WINDOWS, max_length=11, stride=3, truncation_side="left"),
    dict(**WINDOWS, max_length=9, stride=1, add_special_tokens=False, padding="max_length"),
]
PAIRED = [
    dict(truncation="only_first", max_length=32),
    dict(truncation="only_second", max_length=30),
    dict(truncation="longest_first", max_length=9, truncation_side="left"),
    dict(WINDOWS, truncation="only_second", max_length=31, stride=2),
    dict(WINDOWS, truncation="only_first", max_length=31, stride=2, truncation_side="left"),
]


def cases():
    """(texts, text_pair, options), each with what it returns besides ids and masks."""
    for options in OPTIONS:
        yield TEXTS, None, options
        yield TEXTS, SECOND_TEXTS, options
        yield WORDS, None, dict(options, is_split_into_words=True)
    for options in PAIRED:
        yield TEXTS, SECOND_TEXTS, options
        yield WORDS, SECOND_WORDS, dict(options, is_split_into_words=True)
