"""The tokenizer of proteins that ESM has (EsmTokenizer): vocab.txt, a letter for each residue."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, models, pre_tokenizers

from transformers_jax.data.classes.make import Loaded, put_template
from transformers_jax.data.classes.models import assembled
from transformers_jax.data.classes.options import Options, add_tokens
from transformers_jax.data.classes.renumbered import Renumbered
from transformers_jax.data.classes.table import Template

NAME, VOCAB = "EsmTokenizer", "vocab.txt"
ROLES = dict(cls="<cls>", pad="<pad>", eos="<eos>", unk="<unk>", mask="<mask>", sep="<eos>")
AROUND = Template("cls A eos", "cls A eos B eos")
TOKENS = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO.-",
    *("<null_1>", "<mask>"),
)
"""The vocabulary of ESM-1b and ESM-2, by id: the twenty amino acids; X for any, B, U, Z and O for
rare and doubtful ones; gaps."""
AROUND_IT = 6  # residues that an error shows on either side


def esm(folder: Path, options: Options) -> Loaded:
    """The tokenizer of a folder; the token of the end of a text is also the one between two.

    Raises:
        ValueError: no vocab.txt, or one without a token that the class puts around a text.
    """
    file = folder / VOCAB
    if not file.is_file():
        raise ValueError(f"{VOCAB} is not in {folder}, and {NAME} reads it")
    tokens = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    options.default({role: text for role, text in ROLES.items() if text in tokens}, {})
    inner = built(tokens, options)
    add_tokens(inner.inner, options, options.extra or [])
    return Loaded(inner, options, files={VOCAB: file.read_bytes()})


def known() -> tuple[Residues, dict[str, bytes]]:
    """The tokenizer of ESM-1b and ESM-2, and its files."""
    options = Options()
    options.default(ROLES, {})
    return built([*TOKENS], options), {VOCAB: "\n".join(TOKENS).encode()}


def built(tokens: list[str], options: Options) -> Residues:
    """A tokenizer of these tokens, by id."""
    ids = {token: number for number, token in enumerate(tokens)}
    unknown = options.token("unk") or ROLES["unk"]
    cut = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
    model = models.WordLevel(ids, unk_token=unknown)
    inner = assembled(model, pre_tokenizers.Sequence(cut), None)
    named = [token for token in tokens if len(token) > 1]
    inner.add_tokens([AddedToken(token, normalized=False) for token in named])
    special = {text for role in ROLES if (text := options.token(role)) in ids}
    inner.add_special_tokens([AddedToken(text, normalized=False) for text in sorted(special)])
    put_template(inner, AROUND, options)
    known = {number: token for token, number in ids.items()}
    return Residues(inner, known, ids.get(unknown, 0), lambda tokens, special: " ".join(tokens))


class Residues(Renumbered):
    """A tokenizer of the Rust library that refuses a letter which stands for no residue."""

    def _prepared(self, text: Any) -> Any:
        if not isinstance(text, str):
            return super()._prepared(text)
        check_residues(text, {*self.known.values()}, not self.inner.encode_special_tokens)
        return text


def check_residues(text: str, known: set[str], parse_special: bool = True) -> None:
    """Raises ValueError for the first letter of a text that stands for no residue; white space is
    none, and where special tokens are parsed, these are one place each."""
    longer = sorted((token for token in known if len(token) > 1), key=len, reverse=True)
    special = longer if parse_special else []
    parts = re.findall("|".join([*map(re.escape, special), r"\S"]), text)
    for number, part in enumerate(parts):
        if part in known and (len(part) == 1 or parse_special):
            continue
        letters = "".join(sorted(token for token in known if len(token) == 1))
        near = "".join(parts[max(0, number - AROUND_IT) : number + AROUND_IT + 1])
        small = part.upper() in known
        advice = (
            "residues are capitals: write the protein in them (text.upper())"
            if small
            else f"the letters are {letters}; write X for a residue that is not known"
        )
        raise ValueError(f"{part!r} at place {number + 1} ({near!r}) is no amino acid; {advice}")
