"""DeBERTa-v2 (He et al. 2020) and DeBERTa-v3 (He et al. 2021). model_type "deberta-v2".

BERT's blocks, in which content and relative position meet in terms of their own
(`nn.disentangled`); the largest v2 convolves the embeddings beside its first layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.graph import FULL, Mask, given
from transformers_jax.hub.table import Table
from transformers_jax.models.bert import lm_rows
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.rows import (
    HEADS_OUT,
    S,
    attention,
    backbone,
    dense,
    layer,
    norm,
    of_heads,
)
from transformers_jax.models.wiring import Single
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import (
    AttentionSpec,
    Branch,
    Conv,
    Disentangled,
    FeedForward,
    Initial,
    LayerNorm,
    RelativeTable,
    StackSpec,
)

TERMS = {"c2p": "key", "p2c": "query"}
"""By what the relative positions of a term are projected: queries meet them as keys (c2p), keys
meet them as queries (p2c)."""


@dataclass(frozen=True, kw_only=True)
class DebertaV2Config(FamilyConfig):
    """The fields of a DeBERTa-v2 config.json; defaults are those of the class in Hugging Face.

    DeBERTa-v3-base (184M) has hidden_size 768, 12 layers and heads, intermediate_size 3072,
    relative_attention, position_buckets 256, norm_rel_ebd "layer_norm", share_att_key,
    pos_att_type ("p2c", "c2p"), and position_biased_input false.
    """

    model_type = "deberta-v2"
    FIXED = {"talking_head": False}
    UNUSED = frozenset({"padding_idx", "z_steps", "classifier_dropout", "sentence_transformers"})
    TIES = ("deberta.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight")
    TIED_TOO = (("cls.predictions.bias", "cls.predictions.decoder.bias"),)
    HEADS = {
        "DebertaV2Model": "none",
        "DebertaV2ForMaskedLM": "masked_lm",
        "DebertaV2ForSequenceClassification": "sequence_classification",
        "DebertaV2ForTokenClassification": "token_classification",
        "DebertaV2ForMultipleChoice": "multiple_choice",
        "DebertaV2ForQuestionAnswering": "question_answering",
    }

    vocab_size: int = 128100
    hidden_size: int = 1536
    embedding_size: int | None = None
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    attention_head_size: int | None = None
    intermediate_size: int = 6144
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int | None = 0
    initializer_range: float = 0.02
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
    pad_token_id: int | None = 0

    def __post_init__(self):
        super().__post_init__()
        D, K = self.hidden_size, self.head_width("hidden_size", "num_attention_heads")
        for name, only in (("attention_head_size", K), ("pooler_hidden_size", D)):
            if getattr(self, name) not in (None, only):
                raise ValueError(
                    f"{type(self).__name__}: {name} ({getattr(self, name)}) must be {only}, as "
                    f"hidden_size ({D}) and num_attention_heads ({self.num_attention_heads}) say"
                )
        if not self.legacy and self.words_width != D:
            raise ValueError(
                f"{type(self).__name__}: legacy=False scores words by the embeddings: "
                f"embedding_size ({self.words_width}) must be hidden_size ({D})"
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
    def initial(self) -> Initial:
        """normal(0.02) everywhere but in the convolution (released code)."""
        return Initial(self.initializer_range)

    @property
    def words_width(self) -> int:
        """The width of the embeddings."""
        return self.embedding_size or self.hidden_size

    @property
    def farthest(self) -> int:
        """The distance beyond which all are alike."""
        limit = self.max_relative_positions or -1
        return limit if limit > 0 else self.max_position_embeddings

    @property
    def terms(self) -> tuple[str, ...]:
        """The kinds of `pos_att_type` that are terms, in one order."""
        return tuple(kind for kind in TERMS if kind in (self.pos_att_type or ()))

    @property
    def factor(self) -> int:
        """How many products the variance of a score is the sum of (He et al. 2020, 3.1)."""
        return 1 + len(self.terms)

    def score(self) -> Disentangled | None:
        """What a layer does with the relative positions."""
        if not self.relative_attention:
            return None
        buckets = self.position_buckets or -1
        return Disentangled(
            reach=buckets if buckets > 0 else self.farthest,
            far=self.farthest if buckets > 0 else None,
            terms=tuple(TERMS[kind] for kind in self.terms),
            shared=self.share_att_key,
            dropout=self.hidden_dropout_prob,
        )

    def relative_table(self) -> RelativeTable | None:
        """The relative positions of all layers; a norm is stored even where they are not used."""
        score, normed = self.score(), "layer_norm" in self.norm_rel_ebd.lower()
        table = RelativeTable(
            rows=2 * score.reach if score else 0,
            norm=LayerNorm(self.layer_norm_eps) if normed else None,
        )
        return table if table.rows or table.norm else None

    def attention(self, mask: Mask | None) -> AttentionSpec:
        """Self-attention of one layer."""
        width = self.head_width("hidden_size", "num_attention_heads")
        return AttentionSpec(
            heads=self.num_attention_heads,
            kv=width,
            mask=given(mask, FULL),
            scale=(width * self.factor) ** -0.5,
            bias=("query", "key", "value", "out"),
            score=self.score(),
            padding="mean",
            dropout=self.attention_probs_dropout_prob,
        )

    def spec(self, mask=None) -> StackSpec:
        """Post-norm blocks; beside the first one, maybe, a convolution of what enters it."""
        norm, rate = LayerNorm(self.layer_norm_eps), self.hidden_dropout_prob
        block = (
            Branch("self", self.attention(mask), norm, "post", rate),
            Branch("ffn", FeedForward(self.intermediate_size, self.hidden_act), norm, "post", rate),
        )
        blocks = [block] * self.num_hidden_layers
        if self.conv_kernel_size:
            conv = Conv(
                kernel=self.conv_kernel_size,
                groups=self.conv_groups,
                activation=self.conv_act,
                mask=given(mask, FULL),
                dropout=rate,
            )
            blocks[0] = (*block, Branch("conv", conv, norm, "post", reads="block", blank=True))
        score = self.relative_table()
        return StackSpec(self.hidden_size, tuple(blocks), score=score, initial=self.initial)

    def embed(self) -> EmbedSpec:
        """Words + positions + types, brought to the width of the stream and normalised."""
        embed = EmbedSpec(
            vocab=self.vocab_size,
            width=self.words_width,
            unlearned=self.pad_token_id,
            positions=self.max_position_embeddings if self.position_biased_input else None,
            types=self.type_vocab_size or 0,
            norm=LayerNorm(self.layer_norm_eps),
            normed="stream",
            blank=True,
            dropout=self.hidden_dropout_prob,
            initial=self.initial,
        )
        if self.words_width == self.hidden_size:
            return embed
        return replace(embed, project=self.hidden_size, project_bias=False)

    def build(self, head, execution, mask=None) -> Single:
        return Single(
            TokenEmbedder(self.embed()), Stack(self.spec(mask), execution), self.head(head)
        )

    # ------------------------------------------------------------ heads

    def head(self, head: str) -> heads.Head | None:
        """The head of this name."""
        D, N, initial = self.hidden_size, self.num_labels, self.initial
        rate = self.hidden_dropout_prob if self.cls_dropout is None else self.cls_dropout
        pooled = lambda: dict(
            pooling="first",
            inner=heads.Square(D, self.pooler_hidden_act, initial),
            rate=rate,
            pooled_rate=self.pooler_dropout,
        )
        makers = {
            "none": lambda: None,
            "masked_lm": self.words,
            "sequence_classification": lambda: heads.SequenceClassification(
                D, N, initial, problem=self.problem_type, numbers="distribution", **pooled()
            ),
            "token_classification": lambda: heads.TokenClassification(
                D, N, initial, self.hidden_dropout_prob
            ),
            "multiple_choice": lambda: heads.MultipleChoice(D, initial, **pooled()),
            "question_answering": lambda: heads.QuestionAnswering(D, initial),
        }
        return makers[head]()

    def words(self) -> heads.LanguageModel:
        """Logits of masked words. The released weights are those of `legacy=False`, whose table is
        always the embeddings; Hugging Face's own, the default, was never trained by the authors."""
        tied, width = self.tie_word_embeddings or not self.legacy, self.words_width
        transform = heads.Square(
            self.hidden_size, self.hidden_act, self.initial, LayerNorm(self.layer_norm_eps), width
        )
        options = dict(tied=tied, shift=False, bias=True, unread_bias=not tied)
        return heads.LanguageModel(
            self.vocab_size, width, self.initial, transform=transform, **options
        )

    # ------------------------------------------------------------ the table

    def table(self, head) -> Table:
        tied = self.tie_word_embeddings or not self.legacy
        texts = self.head_rows(tied or head != "masked_lm")
        return Table(
            (*backbone(self.backbone_rows(), self.spec().slots), *of_heads(texts, head)),
            prefix="deberta.",
            aliases=((r"\.gamma$", ".weight"), (r"\.beta$", ".bias")),
            # v3 trained its words as the generator's plus a difference, which it also stores
            ignore=(
                *("*.position_ids", "*position_embeddings*", "*._weight"),
                *(other for _, other in self.tied_pairs if tied),
            ),
            stand_ins=self.tied_pairs if tied else (),
        )

    def attention_rows(self) -> str:
        """The rows of a layer's projections."""
        names = "self.query_proj self.key_proj self.value_proj output.dense"
        text = attention(f"{L}.attention", f"{S}.self", names)
        for role, theirs in (("key", "pos_key_proj"), ("query", "pos_query_proj")):
            text += dense(
                f"{L}.attention.self.{theirs}",
                f"{S}.self.score.{role}",
                HEADS_OUT,
                "(h k) -> h k",
            )
        return text

    def backbone_rows(self) -> str:
        """The rows of embeddings and stack."""
        return BACKBONE + self.attention_rows()

    def head_rows(self, tied: bool) -> dict[str, str]:
        """The rows of every head, by name; also those of heads that no model here has: the other
        kind of masked words, and v3's discriminator."""
        transform = "cls.predictions.transform"
        legacy = layer(f"{transform}.dense", "head.transform")
        legacy += norm(f"{transform}.LayerNorm", "head.transform.norm")
        legacy += lm_rows("cls.predictions", "head", tied)
        released = layer("lm_predictions.lm_head.dense", "head.transform")
        released += norm("lm_predictions.lm_head.LayerNorm", "head.transform.norm")
        released += "\nlm_predictions.lm_head.bias | head.bias"
        detector = layer("mask_predictions.dense", "head.transform")
        detector += norm("mask_predictions.LayerNorm", "head.transform.norm")
        detector += layer("mask_predictions.classifier", "head.classify")
        classify = layer("classifier", "head.classify")
        pooled = layer("pooler.dense", "head.inner") + classify
        return {
            "masked_lm": legacy if self.legacy else released,
            "other_masked_lm": released if self.legacy else legacy,
            "replaced_token": detector,
            "sequence_classification": pooled,
            "multiple_choice": pooled,
            "token_classification": classify,
            "question_answering": layer("qa_outputs", "head.classify"),
        }


L = "deberta.encoder.layer.{i}"
BACKBONE = f"""
deberta.embeddings.word_embeddings.weight       | embed.table
deberta.embeddings.position_embeddings.weight   | embed.position
deberta.embeddings.token_type_embeddings.weight | embed.type
deberta.embeddings.embed_proj.weight            | embed.project.weight | e d -> d e
{norm("deberta.embeddings.LayerNorm", "embed.norm")}
deberta.encoder.rel_embeddings.weight           | stack.score.table
{norm("deberta.encoder.LayerNorm", "stack.score.norm")}
deberta.encoder.conv.conv.weight      | stack.blocks.0.conv.weight | (g e) c n -> 1 n g c e
deberta.encoder.conv.conv.bias        | stack.blocks.0.conv.bias | d -> 1 d
deberta.encoder.conv.LayerNorm.weight | stack.blocks.0.conv_norm.scale | d -> 1 d
deberta.encoder.conv.LayerNorm.bias   | stack.blocks.0.conv_norm.shift | d -> 1 d
{norm(f"{L}.attention.output.LayerNorm", f"{S}.self_norm")}
{dense(f"{L}.intermediate.dense", f"{S}.ffn.up")}
{dense(f"{L}.output.dense", f"{S}.ffn.down", "d f -> f d")}
{norm(f"{L}.output.LayerNorm", f"{S}.ffn_norm")}
"""
