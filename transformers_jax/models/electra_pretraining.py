"""ELECTRA's pretraining (Clark et al. 2020): a generator fills masked positions, a discriminator
predicts which tokens were replaced. Both share the embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import shard
from transformers_jax.arrays import Array, Float, Int, Key, to_dtype, wide
from transformers_jax.graph import Mask
from transformers_jax.inputs import checks
from transformers_jax.inputs.labels import per_token
from transformers_jax.models.base import Model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.electra import ElectraConfig
from transformers_jax.models.masks import Masks, masks_of
from transformers_jax.models.output import Output
from transformers_jax.models.plan import Plan
from transformers_jax.models.wiring import Network, Tower
from transformers_jax.nn.embed import Projection, TokenEmbedder
from transformers_jax.nn.head import binary_cross_entropy, loss_of
from transformers_jax.nn.loss import IGNORED, cross_entropy
from transformers_jax.nn.noise import split_key
from transformers_jax.nn.param import axes, bind, initialise, params
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Execution

CHUNKS = 8  # 15 % of the positions are masked: logits are computed in two or three of eight chunks
GENERATOR = "generator_"


@dataclass(frozen=True)
class ReplacedTokenDetectionPlan(Plan):
    """The plan of generator and discriminator; `config` is the discriminator's.

    Attributes:
        fraction: the generator's width, by the discriminator's (Clark et al. 2020, section 3.2).
        weight: of the discriminator's loss (section 2: 50).
    """

    config: ElectraConfig
    fraction: float = 0.25
    weight: float = 50.0

    def build(self) -> ReplacedTokenDetection:
        generator = generator_config(self.config, self.fraction)
        return self.prepared(
            ReplacedTokenDetection(self.config, generator, self.execution, self.masks)
        )

    @property
    def discriminator(self) -> Plan:
        """That of the discriminator."""
        return Plan(self.config, "replaced_token", self.execution, self.mask)

    @property
    def generator(self) -> Plan:
        """That of the generator."""
        config = generator_config(self.config, self.fraction)
        return Plan(config, "masked_lm", self.execution, self.mask)


def generator_config(config: ElectraConfig, fraction: float) -> ElectraConfig:
    """The config of a generator `fraction` as wide: the same depth, embeddings and head width.

    Raises:
        ValueError: a fraction outside (0, 1], or of which no whole number of heads comes.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction}: expected more than 0 and at most 1")
    one = config.head_width("hidden_size", "num_attention_heads")
    width, hidden = (
        round(fraction * size) for size in (config.hidden_size, config.intermediate_size)
    )
    if width < one or width % one:
        fitting = [
            f"{n}/{config.num_attention_heads}" for n in range(1, config.num_attention_heads)
        ]
        raise ValueError(
            f"fraction={fraction} makes a generator of width {width}, which is no multiple of the "
            f"width of a head ({one}); {', '.join(fitting) or 1} would do"
        )
    return dataclasses.replace(
        config,
        hidden_size=width,
        num_attention_heads=width // one,
        intermediate_size=hidden,
        architectures=(),
    )


def replaced_token_plan(
    config: FamilyConfig,
    fraction: float,
    weight: float,
    execution: Execution = Execution(),
    mask: Masks = None,
) -> ReplacedTokenDetectionPlan:
    """The plan of a generator and a discriminator, of the discriminator's config.

    Raises:
        ValueError: another family's config, or a fraction of which no whole head comes.
    """
    # a subclass that has no such discriminator could not be saved
    if not isinstance(config, ElectraConfig) or "replaced_token" not in config.HEADS.values():
        raise ValueError(
            f"config is {type(config).__name__}; expected an ElectraConfig: replaced-token "
            "detection trains ELECTRA's generator and discriminator"
        )
    head = "replaced_token_detection"
    return ReplacedTokenDetectionPlan(
        config, head, execution, mask, fraction=fraction, weight=weight
    )


def make_replaced_token_detection(
    config: ElectraConfig,
    *,
    key: Key,
    fraction: float = 0.25,
    weight: float = 50.0,
    dtype: str = "float32",
    mesh: Any = None,
    mask: Mask | None = None,
    remat: str | None = None,
    compute_dtype: str | None = None,
    **execution: Any,
) -> ReplacedTokenDetection:
    """A new generator and discriminator, every parameter created in its sharding.

    Args:
        config: the discriminator's.
        fraction: the generator's width, by the discriminator's.
        weight: of the discriminator's loss.
        mask: replaces the mask of both, e.g. Same("document") for packed rows.
        execution: further fields of `spec.Execution`.

    Raises:
        ValueError: another family's config, a fraction of which no whole head comes, or sizes that
            the mesh does not divide.
    """
    how = Execution(remat=remat, compute=compute_dtype, **execution)
    model = replaced_token_plan(config, fraction, weight, how, masks_of(mask)).build()
    placed = None if mesh is None else shard.shardings(axes(model), params(model), mesh)
    return initialise(model, key, shardings=placed, dtype=to_dtype(dtype))


class Filled(NamedTuple):
    """The sum of the generator's losses, and the ids that it draws at masked positions."""

    total: Float[Array, ""]
    ids: Int[Array, "B T"]


class ReplacedTokenDetection(Model):
    """A discriminator (`embed`, `stack`, `head`) and a generator with the same word, position and
    type embeddings and their norm, whose output embedding is the word embedding."""

    plan: ReplacedTokenDetectionPlan

    def __init__(
        self,
        config: ElectraConfig,
        generator: ElectraConfig,
        execution: Execution,
        mask: Masks,
    ):
        self.embed = TokenEmbedder(config.embed())
        self.stack = Stack(config.spec(mask), execution)
        self.head = config.head("replaced_token")
        embed = generator.embed()
        self.generator_project = embed.project and Projection(
            embed.width, embed.project, embed.initial, embed.project_bias
        )
        self.generator_stack = Stack(generator.spec(mask), execution)
        self.generator_head = generator.head("masked_lm")

    def forward(
        self,
        input_ids,
        labels=None,
        attention_mask=None,
        token_type_ids=None,
        tags=None,
        key=None,
    ) -> Output:
        """Losses of both on rows whose `input_ids` are masked already.

        `labels` are the original ids at masked positions and -100 elsewhere. A replacement is drawn
        from the generator's distribution (without a key: its likeliest token); one that is equal to
        the original is no replacement. No gradient passes through the drawing.

        Returns:
            loss (= generator_loss + weight * discriminator_loss), generator_loss (mean over masked
            positions), discriminator_loss (mean over all tokens), masked_count, token_count,
            replaced_logits [B T], corrupted_ids [B T] and replaced [B T], which of them differ.
        """
        if labels is None:
            raise ValueError("give labels: the original ids at masked positions, -100 elsewhere")
        noise, first, second = split_key(key, 3)
        others = dict(attention_mask=attention_mask, token_type_ids=token_type_ids, tags=tags)
        generated = self._generator().forward(input_ids=input_ids, key=first, **others)
        filled = self._fill(generated.last_hidden_state, labels, noise)
        masked = labels != IGNORED
        ids = jnp.where(masked, filled.ids, input_ids)
        replaced = masked & (ids != labels)
        logits = self._discriminator().forward(input_ids=ids, key=second, **others).logits
        tokens = jnp.ones(ids.shape, bool) if attention_mask is None else attention_mask > 0
        total, count = binary_cross_entropy(logits, replaced, tokens)
        masked_count = masked.sum().astype(jnp.float32)
        terms = loss_of(
            generator_loss=(filled.total, masked_count),
            discriminator_part=(self.plan.weight * total, count),
        )
        return Output(
            **terms,
            generator_loss=filled.total / jnp.maximum(masked_count, 1.0),
            discriminator_loss=total / jnp.maximum(count, 1.0),
            masked_count=masked_count,
            token_count=count,
            replaced_logits=logits,
            corrupted_ids=ids,
            replaced=replaced,
        )

    def _discriminator(self) -> Network:
        """The discriminator as a model, within a trace: it holds the modules themselves."""
        tower = Tower(self.embed, self.stack)
        return self.plan.discriminator.prepared(Network({"stack": tower}, self.head))

    def _generator(self) -> Network:
        """The generator likewise, without its head."""
        plan = self.plan.generator
        config: Any = plan.config
        embed = self.embed.sharing(config.embed(), self.generator_project)
        return plan.prepared(Network({"stack": Tower(embed, self.generator_stack)}))

    def _fill(self, x: Float[Array, "B T D"], labels: Int[Array, "B T"], key: Key | None) -> Filled:
        """The generator's loss and its tokens at masked positions.

        Masked positions are sorted to the front of their rows, and a chunk of columns in which no
        row has any is skipped: logits, the largest array by far, are computed for few others.
        """
        assert self.embed.table is not None  # the word embeddings of both
        table, (B, T), kind = self.embed.table[...], labels.shape, wide(x)
        order = jnp.argsort(labels == IGNORED, axis=1, stable=True)
        width = -(-T // CHUNKS)
        padding = ((0, 0), (0, width * CHUNKS - T))
        labels = jnp.pad(jnp.take_along_axis(labels, order, 1), padding, constant_values=IGNORED)
        x = jnp.pad(jnp.take_along_axis(x, order[..., None], 1), (*padding, (0, 0)))

        def predict(x, labels, number):
            logits = self.generator_head.logits(x, table)
            total, _ = cross_entropy(logits, labels)
            scores = jax.lax.stop_gradient(logits.astype(kind))
            if key is not None:  # the largest of logits plus Gumbel noise is a draw from softmax
                own = jax.random.fold_in(key, number)
                scores = scores + jax.random.gumbel(own, scores.shape, jnp.float32)
            return total, jnp.argmax(scores, -1).astype(jnp.int32)

        def skip(x, labels, number):
            return jnp.zeros((), kind), jnp.zeros(labels.shape, jnp.int32)

        def step(total, chunk):
            has_masked = (chunk[1] != IGNORED).any()
            loss, ids = jax.lax.cond(has_masked, jax.checkpoint(predict), skip, *chunk)
            return total + loss, ids

        by_chunk = lambda a: jnp.moveaxis(a.reshape(B, CHUNKS, width, *a.shape[2:]), 1, 0)
        xs = (by_chunk(x), by_chunk(labels), jnp.arange(CHUNKS))
        total, ids = jax.lax.scan(step, jnp.zeros((), kind), xs)
        ids = jnp.moveaxis(ids, 0, 1).reshape(B, -1)[:, :T]
        return Filled(total, jnp.take_along_axis(ids, jnp.argsort(order, axis=1), 1))

    # ------------------------------------------------------------ each as a model of its own

    def discriminator_model(self) -> Network:
        """The discriminator as a model of its own: ElectraForPreTraining in Hugging Face."""
        own = {name: x for name, x in params(self).items() if not name.startswith(GENERATOR)}
        return bind(self.plan.discriminator.build(), own)

    def generator_model(self) -> Network:
        """The generator as a model of its own: ElectraForMaskedLM in Hugging Face."""
        values = dict(params(self))
        embed = {name: x for name, x in values["embed"].items() if name != "project"}
        if (project := values.pop(f"{GENERATOR}project", None)) is not None:
            embed["project"] = project
        own = {name: values[f"{GENERATOR}{name}"] for name in ("stack", "head")}
        return bind(self.plan.generator.build(), {**own, "embed": embed})

    def exports(self):
        return {"": self.discriminator_model(), "generator": self.generator_model()}

    def save_pretrained(self, directory: Any, **options: Any) -> None:
        """Writes both, as `discriminator` and `generator` in the directory."""
        for name in ("discriminator", "generator"):
            model = getattr(self, f"{name}_model")()
            model.save_pretrained(f"{directory}/{name}", **options)

    @property
    def positions(self) -> int | None:  # type: ignore[override]
        """How many tokens have a learned position."""
        return self.embed.positions

    @property
    def output_words(self):
        return self.embed.table

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        ids, labels = inputs.get("input_ids"), inputs.get("labels")
        if ids is None or labels is None:
            raise ValueError("give input_ids, and labels: the original ids at masked positions")
        self.embed.check(inputs)
        masks = self.stack.masks("self")
        checks.tags("tags", inputs.get("tags"), masks, np.shape(ids), self.positions)
        checks.packed_documents(masks, inputs, self.embed.offset)
        per_token("labels", labels, self.embed.spec.vocab, np.shape(ids), "input_ids")
