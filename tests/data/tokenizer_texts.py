"""Texts that tokenizers disagree about, drawn from a seed, and the few lines vocabularies learn."""

# ruff: noqa: RUF001 - letters that look alike are what these texts are about

import random

LINES = """
The cat sat on the mat, and the dog looked at it.
A reader reads the text; the text is read by readers.
She said: "It isn't what we've been told," and didn't smile.
In 1984, about 3,141.59 people (or 2,718) bought 12 books for $100.
Le garçon élève où l'été s'achève, à côté de la forêt.
Der Präsident grüßt die Bürger der Straße mit größter Freude.
El niño comió en español, ¿verdad? ¡Claro que sí!
Москва стоит на реке, и кот сидит на окне.
我们在北京学习中文，猫坐在垫子上。
日本語のテキストを読みます。東京は大きいです。
Η γάτα κάθεται στο χαλί.
القط يجلس على السجادة
the translation of the sentence is the same sentence in the other language
hello world, how are you today? I am fine, thank you!
Un chat noir est assis sur le tapis rouge du salon.
Die Katze sitzt auf der Matte und schläft den ganzen Tag.
""".strip().splitlines()
ATOMS = [
    *"the cat sat reads readers translation 1984 3,141.59 $100 isn't we've I'M THE Cat".split(),
    *"garçon ÉTÉ naïve Straße größter niño ¿verdad? Москва кот 我们 北京 猫 日本語 です".split(),
    *"γάτα ΓΆΤΑ σας القط السجادة שלום नमस्ते ไทย 한국어 🙂 👩‍👩‍👧 🇩🇪 ❤️ e\u0301te\u0301 ﬁne".split(),
    *"ＡＢＣ １２３ ① ½ … “quoted” ``ticks'' -- - — a-b a_b x.y @user #tag http://a.b/c?d=e".split(),
    *", . ! ? ; : ( ) [ ] { } < > & % * + = / \\ ' \" ` ~ ^ |".split(),
    *"<s> </s> <pad> <unk> <mask> [CLS] [SEP] [MASK] [PAD] [UNK] <extra_id_0>".split(),
    *"<|endoftext|> en_XX >>fr<< __start__ __en__ <mask_1> ▁ ## ##s Ġ @@ </w>".split(),
    *("\x00", "\x07", "\u200b", "\u200d", "\ufeff", "\u00ad", "\ufffd", "İ", "ŉ", "ǆ", "ß"),
]
SPACES = [" ", " ", " ", " ", " ", "", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "   "]


def texts(count=240, seed=0):
    """Whole lines, single atoms, and atoms thrown together with all kinds of white space."""
    draw = random.Random(seed)
    strings = ["", " ", "  ", "\n", "\t a", "a ", " a", " a  b ", *LINES, *ATOMS]
    strings += [line.upper() for line in LINES[:6]]
    while len(strings) < count:
        words = draw.choices(ATOMS, k=draw.randint(2, 9))
        edge = lambda: draw.choice(["", "", "", " ", "\n"])
        body = words[0] + "".join(draw.choice(SPACES) + word for word in words[1:])
        strings.append(edge() + body + edge())
    return strings[:count]


def pairs(count=40, seed=1):
    """Pairs of texts."""
    draw, known = random.Random(seed), texts()
    return [(draw.choice(known), draw.choice(known)) for _ in range(count)]
