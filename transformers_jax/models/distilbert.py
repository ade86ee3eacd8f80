"""DistilBERT (Sanh et al. 2019). Hugging Face model_type "distilbert".

BERT's network with every other layer, and without token types and pooler (section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers_jax.graph import FULL, given
from transformers_jax.hub.table import Table, Tying, slots
from transformers_jax.models.weight_rows import S, attention, dense, layer, norm, of_heads
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Branch, Draw, Initial, LayerNorm, StackSpec

NORM = LayerNorm(1e-12)


@dataclass(frozen=True)
class InitialWaves(Initial):
    """Positions begin as sinusoids (Vaswani et al. 2017, section 3.5), and are learned."""

    def draw(self, role, sizes) -> Draw:
        return Draw("sinusoids", 1.0) if role == "position" else super().draw(role, sizes)


@dataclass(frozen=True, kw_only=True)
class DistilBertConfig(OneTower):
    """The fields of a DistilBERT config.json; defaults are distilbert-base-uncased (66M)."""

    model_type = "distilbert"
    SPELLINGS = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }
    UNUSED = frozenset({"tie_weights_"})
    TIES = (Tying("distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"),)
    HEADS = {
        "DistilBertModel": "none",
        "DistilBertForMaskedLM": "masked_lm",
        "DistilBertForSequenceClassification": "sequence_classification",
        "DistilBertForTokenClassification": "token_classification",
        "DistilBertForMultipleChoice": "multiple_choice",
        "DistilBertForQuestionAnswering": "question_answering",
    }

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    sinusoidal_pos_embds: bool = False
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    pad_token_id: int | None = 0

    @property
    def initial(self) -> Initial:
        """normal(0.02), as BERT (Devlin et al. 2018, released code)."""
        return (InitialWaves if self.sinusoidal_pos_embds else Initial)(self.initializer_range)

    def spec(self, mask=None) -> StackSpec:
        """BERT's blocks, without noise between the attention and the stream."""
        attend = AttentionSpec(
            heads=self.n_heads,
            kv=self.head_width("dim", "n_heads"),
            mask=given(mask, FULL),
            bias=("query", "key", "value", "out"),
            dropout=self.attention_dropout,
        )
        ffn = FeedForwardSpec(self.hidden_dim, self.activation)
        block = (
            Branch("self", attend, NORM, "post"),
            Branch("ffn", ffn, NORM, "post", self.dropout),
        )
        return StackSpec(self.dim, (block,) * self.n_layers, initial=self.initial)

    def embed(self) -> EmbedSpec:
        """Words + positions, normalised."""
        return EmbedSpec(
            vocab=self.vocab_size,
            width=self.dim,
            padding_idx=self.pad_token_id,
            positions=self.max_position_embeddings,
            norm=NORM,
            dropout=self.dropout,
            initial=self.initial,
        )

    def head(self, head: str) -> heads.Head | None:
        """The head of this name."""
        D, N, initial, rate = self.dim, self.num_labels, self.initial, self.seq_classif_dropout
        first: dict[str, Any] = dict(pooling="first", inner=heads.Square(D, "relu", initial))
        transform = heads.Square(D, self.activation, initial, NORM)
        tied = dict(tied=self.tie_word_embeddings, shift=False)
        makers = {
            "none": lambda: None,
            "masked_lm": lambda: heads.LanguageModel(
                self.vocab_size, D, initial, **tied, bias=True, transform=transform
            ),
            "sequence_classification": lambda: heads.SequenceClassification(
                D, N, initial, **first, problem=self.problem_type, rate=rate, pooled_rate=0.0
            ),
            "token_classification": lambda: heads.TokenClassification(D, N, initial, self.dropout),
            "multiple_choice": lambda: heads.MultipleChoice(D, initial, rate, **first),
            "question_answering": lambda: heads.QuestionAnswering(D, initial, self.qa_dropout),
        }
        return makers[head]()

    def table(self, head) -> Table:
        tied = self.tie_word_embeddings
        texts = dict(HEAD_ROWS)
        if not (tied and head == "masked_lm"):
            texts["masked_lm"] += "\nvocab_projector.weight | head.table"
        return Table(
            (*slots(BACKBONE), *of_heads(texts, head)),
            prefix="distilbert.",
            aliases=((r"\.gamma$", ".weight"), (r"\.beta$", ".bias")),
            ignore=("*.position_ids",),
            ties=self.TIES if tied else (),
        )


L = "distilbert.transformer.layer.{i}"
BACKBONE = f"""
distilbert.embeddings.word_embeddings.weight     | embed.table
distilbert.embeddings.position_embeddings.weight | embed.position
{norm("distilbert.embeddings.LayerNorm", "embed.norm")}
{attention(f"{L}.attention", f"{S}.self", "q_lin k_lin v_lin out_lin")}
{norm(f"{L}.sa_layer_norm", f"{S}.self_norm")}
{dense(f"{L}.ffn.lin1", f"{S}.ffn.up")}
{dense(f"{L}.ffn.lin2", f"{S}.ffn.down", "d f -> f d")}
{norm(f"{L}.output_layer_norm", f"{S}.ffn_norm")}
"""
CLASSIFIER = layer("classifier", "head.classify")
FIRST = layer("pre_classifier", "head.inner") + CLASSIFIER
HEAD_ROWS = {
    "masked_lm": layer("vocab_transform", "head.transform")
    + norm("vocab_layer_norm", "head.transform.norm")
    + "\nvocab_projector.bias | head.bias",
    "sequence_classification": FIRST,
    "token_classification": CLASSIFIER,
    "multiple_choice": FIRST,
    "question_answering": layer("qa_outputs", "head.classify"),
}
