"""FamilyConfig: a frozen record whose fields are those of the family's config.json.

Each key of the file is a field, or fixed at the one value that is implemented (any other raises),
or on the list of keys that change nothing here. An unknown key raises: a switch that is silently
dropped is a wrong model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from transformers_jax import spec
from transformers_jax.face import public
from transformers_jax.hub.table import Tying
from transformers_jax.models.fields import label_names, labelled, out_of_range, wrong_type
from transformers_jax.models.frozen import Frozen, freeze, thaw
from transformers_jax.publish import publish_json
from transformers_jax.settings import hints_of
from transformers_jax.sizes import nearest_multiples
from transformers_jax.spelling import nearest

IGNORED = frozenset(
    # how it was made, or how the reference implementation runs it
    """transformers_version _name_or_path name_or_path use_cache output_attentions return_dict n_ctx
    output_hidden_states torchscript use_bfloat16 gradient_checkpointing tokenizer_class prefix
    chunk_size_feed_forward finetuning_task task_specific_params _attn_implementation auto_map
    attn_implementation _attn_implementation_autoset pretraining_tp _from_model_config output_past
    use_return_dict reorder_and_upcast_attn model_max_length eos_token_ids xla_device tf_legacy_loss
    """
    # notes of authors and of other libraries, and ids that only tokenizers read
    """language name _commit_hash transformers.js_config mask_token_id cls_token_id unk_token_id """
    # generation settings, which v4 stored here and v5 stores in generation_config.json
    """max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
    temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
    return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens sep_token_id
    max_new_tokens min_new_tokens renormalize_logits
    """.split()
)
OWN_KEY = "transformers_jax"
"""The one key of config.json that is ours: for what PyTorch's transformers have no key."""
HUB = ("revision", "token", "cache_dir", "local_files_only")
FIXED_EVERYWHERE: dict[str, Any] = {
    "pruned_heads": {},
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "quantization_config": None,
    "is_decoder": False,
    "cross_attention_hidden_size": None,
}


@dataclass(frozen=True, kw_only=True)
class FamilyConfig:
    """What all families share; a family adds its fields under Hugging Face's names.

    Class attributes:
        model_type: the name of the family in config.json.
        FIXED: keys that must have this value if they occur.
        SPELLINGS: older names of fields.
        UNUSED: keys of this family that change nothing here.
        HEADS: Hugging Face's class names and the heads they mean.
        PARTS: the names of the fields that are configs of families of their own.
        TIES: the names on disk that are one array where the tables are tied, the embeddings and
            the output table first.
        PREFIX: in front of the names of the backbone in files.
        PREFIXES: by head, where files of this head have another one.
        WEIGHTS: what files of weights are called, without what is behind it.
        ALIASES, IGNORE: of the table of weights (`hub.table.Table`).
        HEAD_ROWS: the rows of each head, where they need nothing of the config.
    """

    model_type: ClassVar[str]
    FIXED: ClassVar[Mapping[str, Any]] = {}
    SPELLINGS: ClassVar[Mapping[str, str]] = {}
    UNUSED: ClassVar[frozenset[str]] = frozenset()
    HEADS: ClassVar[Mapping[str, str]] = {}
    PARTS: ClassVar[tuple[str, ...]] = ()
    TIES: ClassVar[tuple[Tying, ...]] = ()
    PREFIX: ClassVar[str] = ""
    PREFIXES: ClassVar[Mapping[str, str]] = {}
    WEIGHTS: ClassVar[str] = "model"
    ALIASES: ClassVar[tuple[tuple[str, str], ...]] = ()
    IGNORE: ClassVar[tuple[str, ...]] = ()
    HEAD_ROWS: ClassVar[Mapping[str, str]] = {}
    is_encoder_decoder: ClassVar[bool] = False

    architectures: tuple[str, ...] = ()
    dtype: str | None = None
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    decoder_start_token_id: int | None = None
    tie_word_embeddings: bool = True
    id2label: Frozen | None = None
    label2id: Frozen | None = None
    problem_type: str | None = None
    sentence_transformers: Frozen | None = None
    transformers_jax: Frozen | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = FamilyConfig.__repr__  # type: ignore[method-assign]  # not a dataclass's own

    def __repr__(self) -> str:
        """The fields that do not have their default."""
        changed = []
        for field in dataclasses.fields(self):
            default, value = field.default, getattr(self, field.name)
            if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if value != freeze(default):
                changed.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"

    def __post_init__(self):
        for field in dataclasses.fields(self):  # lists, dicts and numbers of NumPy
            object.__setattr__(self, field.name, freeze(getattr(self, field.name)))
        hints = hints_of(type(self)).items()
        wrong = [p for name, hint in hints for p in wrong_type(name, hint, getattr(self, name))]
        if wrong := wrong or out_of_range(self):
            raise ValueError(f"{type(self).__name__}: " + "; ".join(wrong))

    def head_width(self, width: str, heads: str) -> int:
        """The width of one head, from the names of the fields with the stream's and the number.

        Raises:
            ValueError: the heads do not divide the width.
        """
        D, H = getattr(self, width), getattr(self, heads)
        if D % H:
            raise ValueError(
                f"{type(self).__name__}: {width} ({D}) must be a multiple of {heads} ({H}); "
                f"the nearest are {nearest_multiples(D, H)}"
            )
        return D // H

    # ------------------------------------------------------------ in and out

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, ignore: Iterable[str] = ()) -> Self:
        """The config of a config.json's content.

        Raises:
            ValueError: unknown keys (pass `ignore=("key",)` to accept one by name), values that
                are not implemented, wrong types; all at once.
        """
        ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        known = hints_of(cls)
        fixed = {**FIXED_EVERYWHERE, **cls.FIXED}
        fields: dict[str, Any] = {}
        problems: list[str] = []
        for key, value in cls.modernise(dict(values)).items():
            key = {"torch_dtype": "dtype", **cls.SPELLINGS}.get(key, key)
            if key == "dtype" and isinstance(value, str):
                value = value.removeprefix("torch.")
            if key == "architectures" and value is None:
                continue
            if key in known:
                fields[key] = freeze(value)
                problems += wrong_type(key, known[key], value)
            elif key in fixed and key not in ignore:
                if thaw(freeze(value)) != thaw(freeze(fixed[key])) and value is not None:
                    problems.append(
                        f"{key}={value!r} is not implemented for {cls.model_type}, "
                        f"only {fixed[key]!r}"
                    )
            elif key not in IGNORED | cls.UNUSED | {"model_type", "is_encoder_decoder", *ignore}:
                problems.append(
                    f"unknown key {key!r}{nearest(key, known)} "
                    f"(to accept it: ignore=({key!r},), or --ignore {key})"
                )
        if problems:
            raise ValueError(f"{cls.__name__}: " + "; ".join(problems))
        return cls(**fields)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, ignore: Iterable[str] = (), **options: Any
    ) -> Self:
        """The config of a directory or a hub id; fields may be changed by name (`num_labels=3`).

        Raises:
            ValueError: what the directory holds is of another family; see `from_dict`.
        """
        return public("AutoConfig").from_pretrained(path, ignore=ignore, family=cls, **options)

    @classmethod
    def modernise(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Older spellings that are more than another name, as today's; a hook for families."""
        for name in ("num_labels", "_num_labels"):  # the second until 2020
            if (count := values.pop(name, None)) is not None and values.get("id2label") is None:
                values["id2label"] = label_names(count)
        activation = values.pop("sbert_ce_default_activation_function", None)  # until 2025
        if activation is not None and values.get("sentence_transformers") is None:
            values["sentence_transformers"] = {"activation_fn": activation}
        # in the releases of 2019 a number, a path or -1
        words = values.pop("vocab_size_or_config_json_file", None)
        if isinstance(words, int) and words > 0:
            values.setdefault("vocab_size", words)
        return values

    def to_dict(self) -> dict[str, Any]:
        """The content of a config.json that transformers v5 reads."""
        fields = {f.name: thaw(getattr(self, f.name)) for f in dataclasses.fields(self)}
        optional = {"id2label", "label2id", "problem_type", "dtype", "decoder_start_token_id"}
        optional |= {"sentence_transformers", OWN_KEY}
        fields = {k: v for k, v in fields.items() if v is not None or k not in optional}
        return {
            "model_type": self.model_type,
            "is_encoder_decoder": self.is_encoder_decoder,
            **fields,
            "architectures": list(self.architectures),
        }

    def save(self, directory: str | Path) -> None:
        """Writes config.json."""
        publish_json(Path(directory) / "config.json", self.to_dict(), sort_keys=True)

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes config.json into the directory, which need not be there."""
        Path(directory).mkdir(parents=True, exist_ok=True)
        self.save(directory)

    def replace(self, **changes: Any) -> Self:
        """A config with some fields changed; `num_labels=` sets the names of the labels, where
        neither `id2label` nor `label2id` does.

        Raises:
            ValueError: a field that this family does not have, with the nearest name; labels that
                contradict each other.
        """
        changes = {name: freeze(value) for name, value in labelled(changes).items()}
        known = {f.name: f for f in dataclasses.fields(self)}
        if unknown := [name for name in changes if name not in known]:
            problems = (f"unknown field {name!r}{nearest(name, known)}" for name in unknown)
            raise ValueError(f"{type(self).__name__}: " + "; ".join(problems))
        return dataclasses.replace(self, **changes)

    # ------------------------------------------------------------ what families say

    @property
    def num_labels(self) -> int:
        """How many classes a classification head has."""
        return len(self.id2label) if self.id2label else 2

    def part(self, head: Any) -> FamilyConfig:
        """The config inside of this one to which a class of Hugging Face's belongs (a tower of
        CLIP); itself, if it is its own."""
        return self

    def head_named(self, head: str | None) -> str:
        """The head that a name means: a head, a Hugging Face class, or None for architectures[0].
        Where the config has none: no head, or the first of a family that has no model without.

        Raises:
            ValueError: a head that the family does not have; those it has are listed.
        """
        if head is None:
            usual = list(self.HEADS.values())
            usual = ["none"] if "none" in usual and len(usual) > 1 else usual
            head = self.architectures[0] if self.architectures else usual[0]
        if not isinstance(head, str):
            raise ValueError(f"head={head!r}: expected the name of a head, such as 'causal_lm'")
        name = self.HEADS.get(head, head)
        if name not in self.HEADS.values():
            heads = {*self.HEADS.values()}
            if "encoder" in heads or ("none" in heads and not self.is_encoder_decoder):
                heads.add("embedding")  # fits any single stack; see `pretrained`
            names = sorted(heads) + sorted(self.HEADS)
            raise ValueError(
                f"{self.model_type} has no head {head!r}{nearest(head, names)}; "
                f"it has {', '.join(names)}"
            )
        return name

    def prefix(self, head: str) -> str:
        """What is in front of the names of the backbone in files of this head."""
        return self.PREFIXES.get(head, self.PREFIX)

    def mask_names(self, head: str) -> tuple[str, ...]:
        """The names of the masks where there are several; () where there is one."""
        return ("encoder", "decoder", "cross") if self.is_encoder_decoder else ()

    @property
    def target_vocab(self) -> int:
        """The size of the vocabulary that is predicted."""
        return self.vocab_size  # type: ignore[attr-defined]

    @property
    def prompt(self) -> tuple[int, ...]:
        """The ids with which a text begins where a call has images only; (): it has to say them."""
        return ()

    @property
    def stated_positions(self) -> int | None:
        """How many tokens a text may have where no table of positions says it; None: no limit."""
        return None

    @property
    def anew(self) -> int | None:
        """How many tokens a text may have before all of it is read anew (`Reading.anew`)."""
        return None

    def side(self, tower: str) -> FamilyConfig:
        """The config of a tower ("encoder"); itself, if it describes them all."""
        return self

    @property
    def ties(self) -> tuple[Tying, ...]:
        """The names on disk that are one array where the tables are tied."""
        return self.TIES

    def resolved(self, same: Callable[[str, str], bool | None]) -> Self:
        """The config with what only the stored tensors say.

        `same(a, b)`: whether the tensors of these names are equal; None if not both are stored.
        Where embeddings and output table are both stored and differ, they are not tied, whatever
        the config says (transformers v5: tying is symmetric and never overwrites).
        """
        apart = any(same(tie.name, tie.copy) is False for tie in self.ties)
        if not self.tie_word_embeddings or not apart:
            return self
        return self.replace(tie_word_embeddings=False)

    def with_stored(self, read: Callable[[str], Any]) -> Self:
        """The config with what only numbers of stored tensors say, which `read(name)` gives."""
        return self

    def architecture(self, head: str) -> str:
        """Hugging Face's class name of a head."""
        return next(name for name, value in self.HEADS.items() if value == head)

    def build(self, head: str, execution: spec.Execution, mask: Any = None) -> Any:
        """The abstract model (`models.base.Model`)."""
        raise NotImplementedError

    def table(self, head: str) -> Any:
        """The two-way weight table (`hub.table.Table`) of a model with this head."""
        raise NotImplementedError
