"""Files of timm, the library of image models by Ross Wightman: their config names an architecture,
whose sizes follow from its name, and the arguments that differ from these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers_jax.inputs import labels as check
from transformers_jax.models.base import by_name
from transformers_jax.models.frozen import Frozen, thaw
from transformers_jax.models.output import Output
from transformers_jax.models.wiring import Network, OneTower, Tower
from transformers_jax.nn.head import Dense, Head
from transformers_jax.nn.head.base import scored
from transformers_jax.nn.loss import classification_loss
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.pooling import pool
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Initial
from transformers_jax.spec import Norm as NormSpec
from transformers_jax.spelling import nearest

WITHOUT_EFFECT = frozenset(
    {"weight_init", "fix_init", "nlhb", "strict_img_size", "dynamic_img_size", "pretrained"}
)
"""Arguments that change no result of trained weights."""


@dataclass(frozen=True, kw_only=True)
class TimmConfig(OneTower):
    """The keys of a config.json of timm. What the model is built of (`built`) is, from the weakest
    to the strongest: `DEFAULTS`, what the architecture's name says, `model_args`, and
    `num_classes`.

    Class attributes:
        DEFAULTS: timm's arguments of the class, and their defaults.
        ONLY: arguments that are implemented for one value.
    """

    DEFAULTS: ClassVar[Mapping[str, Any]]
    ONLY: ClassVar[Mapping[str, Any]] = {}

    architecture_name: str
    num_classes: int = 1000
    num_features: int | None = None
    global_pool: str | None = None
    model_args: Frozen | None = None
    pretrained_cfg: Frozen | None = None
    resnet_sizes: Frozen | None = None

    SPELLINGS = {"architecture": "architecture_name", "backbone": "resnet_sizes"}

    def __post_init__(self):
        super().__post_init__()
        if self.id2label is not None and len(self.id2label) != self.num_classes:
            raise ValueError(
                f"id2label has {len(self.id2label)} classes; num_classes ({self.num_classes}) says "
                "how many a model of timm has: give num_classes="
            )
        self.built  # noqa: B018 - refuses what it cannot build

    @classmethod
    def modernise(cls, values):
        """timm's list of the names of classes, as the other families have it."""
        names = values.pop("label_names", None)
        if names is not None:
            values["id2label"] = dict(enumerate(names))
        return super().modernise(values)

    @classmethod
    def named(cls, architecture: str) -> dict[str, Any]:
        """The arguments that an architecture's name says.

        Raises:
            ValueError: a name of another form.
        """
        raise NotImplementedError

    @property
    def num_labels(self):
        return self.num_classes

    @property
    def built(self) -> dict[str, Any]:
        """The arguments of timm's class.

        Raises:
            ValueError: unknown ones, and values that are not implemented.
        """
        given = {**(thaw(self.model_args) or {}), "num_classes": self.num_classes}
        size = (thaw(self.pretrained_cfg) or {}).get("input_size")
        if size is not None:
            given = {"img_size": size[1], "in_chans": size[0], **given}
        if self.global_pool is not None:
            given.setdefault("global_pool", self.global_pool)
        whole = {**self.DEFAULTS, **self.named(self.architecture_name), **given}
        known = {*self.DEFAULTS, *self.ONLY, *WITHOUT_EFFECT}
        wrong = [f"unknown argument {n!r}{nearest(n, known)}" for n in whole if n not in known]
        wrong += [
            f"{name}={whole[name]!r} is not implemented, only {value!r}"
            for name, value in self.ONLY.items()
            if name in whole and whole[name] != value
        ]
        if wrong:
            raise ValueError(
                f"{type(self).__name__} ({self.architecture_name}): {'; '.join(wrong)}"
            )
        return whole

    def to_dict(self):
        """The keys of timm."""
        keys = ("num_classes", "num_features", "global_pool", "model_args", "pretrained_cfg")
        values = {name: thaw(getattr(self, name)) for name in keys}
        values["backbone"] = thaw(self.resnet_sizes)
        labels = {int(number): name for number, name in (thaw(self.id2label) or {}).items()}
        values["label_names"] = [labels[number] for number in sorted(labels)] or None
        values = {name: value for name, value in values.items() if value is not None}
        return {"architecture": self.architecture_name, **values}

    def head_named(self, head):
        if head in (None, self.architecture_name):
            return "image_classification" if self.num_classes else "none"
        return super().head_named(head)

    @property
    def initial(self) -> Initial:
        """normal(0.02), cut off at two deviations (timm's default)."""
        return Initial(cut=2.0)

    def build(self, head, execution, mask=None):
        tower = Tower(self.embedder(head), Stack(self.spec(mask), execution))
        return Timm({"stack": tower}, None if head == "none" else self.head(head))


class Timm(Network):
    """A network that takes images as `x`, too, as timm's do."""

    @by_name
    def __call__(self, *positional: Any, **inputs: Any) -> Output:
        named = {"pixel_values" if name == "x" else name: x for name, x in inputs.items()}
        return super().__call__(*positional, **named)


class TimmHead(Head):
    """`features`, which are the tokens behind the stack, and the logits of their pooled vector:
    that of the class token, or the mean of the patches behind `front` tokens."""

    def __init__(
        self,
        width: int,
        count: int,
        initial: Initial,
        *,
        pooling: str,
        front: int = 0,
        norm: NormSpec | None = None,
    ):
        self.pooling, self.front, self.count = pooling, front, count
        self.norm = None if norm is None else Norm(norm, width)
        self.classify = Dense(width, count, "label", initial)

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.classes("labels", labels, shape[0], self.count, None)

    def __call__(self, x, inputs, *, labels=None):
        tokens = x if self.pooling == "token" else x[:, self.front :]
        pooled = pool(tokens, "first" if self.pooling == "token" else "mean of all")
        pooled = pooled if self.norm is None else self.norm(pooled)
        loss = lambda logits, labels: classification_loss(logits, labels, problem=None)
        return {**scored(self.classify(pooled), labels, loss), "features": x}


def sized(pattern: str, architecture: str) -> dict[str, str]:
    """The parts of an architecture's name.

    Raises:
        ValueError: a name of another form.
    """
    match = re.fullmatch(pattern, architecture.split(".")[0])
    if match is None:
        raise ValueError(
            f"architecture {architecture!r} of timm is not supported; supported are names such as "
            "vit_base_patch16_224, vit_tiny_r_s16_p8_224, vit_small_r26_s32_224 and mixer_b16_224"
        )
    return {name: value for name, value in match.groupdict().items() if value is not None}
