"""DeBERTa-v2 (He et al. 2020) and DeBERTa-v3 (He et al. 2021). model_type "deberta-v2".

BERT's blocks, in which content and relative position meet in terms of their own
(`nn.disentangled`); the largest v2 convolves the embeddings beside its first layer. Padding is
computed as the reference does, because the loss of question answering reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import jax.numpy as jnp

from transformers_jax.graph import FULL, with_own
from transformers_jax.hub.table import Table
from transformers_jax.models.bert import MLP, BertConfig
from transformers_jax.models.shared.class_names import CHOOSING, OF_ROWS, heads_of
from transformers_jax.models.shared.encoder_heads import words_rows
from transformers_jax.models.shared.task_heads import TaskOptions, first_of
from transformers_jax.models.shared.weight_rows import (
    HEADS_OUT,
    S,
    attention,
    dense,
    embeddings,
    feed_forward,
    layer,
    norm,
    of_heads,
)
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.convolution import ConvolutionSpec
from transformers_jax.spec import Branch, Disentangled, RelativeTable

TERMS = {"c2p": "key", "p2c": "query"}
"""By what the relative positions of a term are projected: queries meet them as keys (c2p), keys
meet them as queries (p2c)."""


@dataclass(frozen=True)
class UniformPaddingSpec(AttentionSpec):
    """Attention of which queries that are padding receive the mean of all values of their row: the
    reference's softmax over scores that are all the same large negative number."""

    def build(self, width, initial, source=None) -> UniformPadding:
        return UniformPadding(self, width, initial, source)


class UniformPadding(Attention):
    """See `UniformPaddingSpec`."""

    def messages(self, q, k, v, edges, **options):
        y, weights = super().messages(q, k, v, edges, **options)
        if edges.q.valid is None:
            return y, weights
        tokens = edges.q.valid[:, :, None, None]
        mean = jnp.repeat(v.mean(1, keepdims=True), self.spec.heads // v.shape[2], 2)
        if weights is not None:
            weights = jnp.where(jnp.swapaxes(tokens, 1, 2), weights, 1 / k.shape[1])
        return jnp.where(tokens, y, mean), weights


@dataclass(frozen=True, kw_only=True)
class DebertaV2Config(BertConfig):
    """The fields of a DeBERTa-v2 config.json; defaults are those of the class in Hugging Face.

    DeBERTa-v3-base (184M) has hidden_size 768, 12 layers and heads, intermediate_size 3072,
    relative_attention, position_buckets 256, norm_rel_ebd "layer_norm", share_att_key,
    pos_att_type ("p2c", "c2p"), and position_biased_input false.
    """

    model_type = "deberta-v2"
    FIXED = {"talking_head": False}
    UNUSED = frozenset("classifier_dropout padding_idx z_steps".split())
    PREFIX = "deberta."
    POOLED = ()
    HEADS = heads_of("DebertaV2", "none", "masked_lm", *CHOOSING)
    classifier_dropout: ClassVar[None] = None  # no field here: it is called cls_dropout

    vocab_size: int = 128100
    hidden_size: int = 1536
    embedding_size: int | None = None
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    attention_head_size: int | None = None
    intermediate_size: int = 6144
    type_vocab_size: int | None = 0
    layer_norm_eps: float = 1e-7
    relative_attention: bool = False
    max_relative_positions: int | None = -1
    position_biased_input: bool = True
    pos_att_type: tuple[str, ...] | None = None
    position_buckets: int | None = -1
    norm_rel_ebd: str = "none"
    share_att_key: bool = False
    conv_kernel_size: int | None = 0
    conv_act: str = "tanh"
    conv_groups: int = 1
    pooler_hidden_size: int | None = None
    pooler_dropout: float = 0.0
    pooler_hidden_act: str = "gelu"
    cls_dropout: float | None = None
    legacy: bool = True

    def __post_init__(self):
        super().__post_init__()
        D, K = self.hidden_size, self.head_width("hidden_size", "num_attention_heads")
        for name, only in (("attention_head_size", K), ("pooler_hidden_size", D)):
            if getattr(self, name) not in (None, only):
                raise ValueError(
                    f"{type(self).__name__}: {name} ({getattr(self, name)}) must be {only}, as "
                    f"hidden_size ({D}) and num_attention_heads ({self.num_attention_heads}) say"
                )

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        if isinstance(kinds := values.get("pos_att_type"), str):
            values["pos_att_type"] = [kind.strip() for kind in kinds.lower().split("|")]
        return values

    def to_dict(self):
        derived = ("embedding_size", "attention_head_size", "pooler_hidden_size", "cls_dropout")
        values = super().to_dict()
        return {k: v for k, v in values.items() if v is not None or k not in derived}

    # ------------------------------------------------------------ the stack

    @property
    def terms(self) -> tuple[str, ...]:
        """The kinds of `pos_att_type` that are terms, in one order."""
        return tuple(kind for kind in TERMS if kind in (self.pos_att_type or ()))

    @property
    def products(self) -> int:
        """How many products a score is the sum of (He et al. 2020, section 3.1)."""
        return 1 + len(self.terms)

    def score(self) -> Disentangled | None:
        """What a layer does with the relative positions."""
        if not self.relative_attention:
            return None
        limit, buckets = self.max_relative_positions or -1, self.position_buckets or -1
        far = limit if limit > 0 else self.max_position_embeddings
        return Disentangled(
            reach=buckets if buckets > 0 else far,
            far=far if buckets > 0 else None,
            terms=tuple(TERMS[kind] for kind in self.terms),
            shared=self.share_att_key,
            dropout=self.hidden_dropout_prob,
        )

    def relative_table(self) -> RelativeTable | None:
        """The relative positions of all layers; a norm is stored even where they are not used."""
        score, normed = self.score(), "layer_norm" in self.norm_rel_ebd.lower()
        rows = 2 * score.reach if score else 0
        norm = self.layer_norm if normed else None
        return RelativeTable(rows, norm) if rows or norm else None

    def attend(self, mask) -> AttentionSpec:
        whole = super().attend(mask)
        scale = (whole.kv * self.products) ** -0.5
        return UniformPaddingSpec(**{**vars(whole), "scale": scale, "score": self.score()})

    def spec(self, mask=None, cross=None):
        """BERT's blocks; beside the first one, maybe, a convolution of what enters it."""
        stack = super().spec(mask, cross)
        first, *others = stack.blocks
        if self.conv_kernel_size:
            conv = ConvolutionSpec(
                kernel=self.conv_kernel_size,
                groups=self.conv_groups,
                activation=self.conv_act,
                mask=with_own(mask, FULL),
                dropout=self.hidden_dropout_prob,
            )
            norm = self.layer_norm
            first = (*first, Branch("conv", conv, norm, "post", reads="block", zero_padding=True))
        return replace(stack, blocks=(first, *others), score=self.relative_table())

    def embed(self):
        """Words + positions + types, brought to the width of the stream and normalised."""
        D, width = self.hidden_size, self.embedding_size or self.hidden_size
        return replace(
            super().embed(),
            width=width,
            positions=self.max_position_embeddings if self.position_biased_input else None,
            types=self.type_vocab_size or 0,
            normed="stream",
            zero_padding=True,
            project=None if width == D else D,
            project_bias=False,
        )

    # ------------------------------------------------------------ heads

    def task_options(self, head):
        if head not in OF_ROWS:
            return super().task_options(head)
        rate = first_of(self.cls_dropout, self.hidden_dropout_prob)
        inner = heads.Square(self.hidden_size, self.pooler_hidden_act, self.initial)
        return TaskOptions(
            rate=rate,
            pooling="first",
            inner=inner,
            pooled_rate=self.pooler_dropout,
            numbers="distribution",
        )

    def language_model(self, shift=False):
        """The language model head. The authors' weights are those of `legacy=False`, whose table is
        always the embeddings; the default is Hugging Face's own and was never trained by them."""
        D, E = self.hidden_size, self.embedding_size
        if not self.legacy and E not in (None, D):
            raise ValueError(
                f"{type(self).__name__}: legacy=False scores words by the embeddings: "
                f"embedding_size ({E}) must be hidden_size ({D})"
            )
        config = self if self.legacy else self.replace(tie_word_embeddings=True)
        return super(DebertaV2Config, config).language_model(shift)

    # ------------------------------------------------------------ the table

    def table(self, head) -> Table:
        if not self.legacy and not self.tie_word_embeddings:
            return self.replace(tie_word_embeddings=True).table(head)
        table = super().table(head)
        foreign = {"other_masked_lm": self.words_rows(not self.legacy), "replaced_token": DETECTOR}
        # v3 trained its words as the generator's plus a difference, which it also stores
        stray = ("*position_embeddings*", "*._weight")
        rows = (*table.rows, *of_heads(foreign, head))
        return replace(table, rows=rows, ignore=(*table.ignore, *stray))

    def backbone(self):
        return BACKBONE + self.attention_rows()

    def attention_rows(self) -> str:
        """The rows of a layer's projections."""
        theirs, ours = f"{L}.attention", f"{S}.self"
        return f"""
{attention(theirs, ours, NAMES)}
{dense(f"{theirs}.self.pos_key_proj", f"{ours}.score.key", HEADS_OUT, "(h k) -> h k")}
{dense(f"{theirs}.self.pos_query_proj", f"{ours}.score.query", HEADS_OUT, "(h k) -> h k")}
"""

    def head_rows(self, head, tied):
        if head == "masked_lm":
            return self.words_rows(self.legacy, tied)
        pooler = layer("pooler.dense", "head.inner")
        return (pooler if head in OF_ROWS else "") + super().head_rows(head, tied)

    def words_rows(self, legacy: bool, tied: bool = True) -> str:
        """The rows of a head of masked words, of either kind."""
        return super().head_rows("masked_lm", tied) if legacy else RELEASED


HEAD = "lm_predictions.lm_head"
NAMES = "self.query_proj self.key_proj self.value_proj output.dense"
L = "encoder.layer.{i}"
BACKBONE = f"""
{embeddings("embeddings", "type")}
embeddings.embed_proj.weight  | embed.project.weight | e d -> d e
encoder.rel_embeddings.weight | stack.score.table
{norm("encoder.LayerNorm", "stack.score.norm")}
encoder.conv.conv.weight      | stack.blocks.0.conv.weight | (g e) c n -> 1 n g c e
encoder.conv.conv.bias        | stack.blocks.0.conv.bias | d -> 1 d
encoder.conv.LayerNorm.weight | stack.blocks.0.conv_norm.scale | d -> 1 d
encoder.conv.LayerNorm.bias   | stack.blocks.0.conv_norm.shift | d -> 1 d
{norm(f"{L}.attention.output.LayerNorm", f"{S}.self_norm")}
{feed_forward(L, f"{S}.ffn", MLP)}
{norm(f"{L}.output.LayerNorm", f"{S}.ffn_norm")}
"""
RELEASED = words_rows(f"{HEAD}.dense {HEAD}.LayerNorm {HEAD}")
DETECTOR = f"""
{layer("mask_predictions.dense", "head.transform")}
{norm("mask_predictions.LayerNorm", "head.transform.norm")}
{layer("mask_predictions.classifier", "head.classify")}
"""
