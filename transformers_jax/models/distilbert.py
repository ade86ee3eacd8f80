"""DistilBERT (Sanh et al. 2019). Hugging Face model_type "distilbert".

BERT's network with every other layer, and without token types and pooler (section 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.graph import FULL, with_own
from transformers_jax.hub.table import Tying
from transformers_jax.models.shared.blocks import attention, block
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.encoder_heads import words_head, words_rows
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.weight_rows import OLDER, S, block_rows, embeddings, layer
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Draw, Initial, LayerNorm, StackSpec

NORM = LayerNorm(1e-12)


@dataclass(frozen=True)
class InitialSinusoids(Initial):
    """Positions begin as sinusoids (Vaswani et al. 2017, section 3.5), and are learned."""

    def draw(self, role, sizes) -> Draw:
        return Draw("sinusoids", 1.0) if role == "position" else super().draw(role, sizes)


PROJECTIONS = "q_lin k_lin v_lin out_lin"
L = "transformer.layer.{i}"


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
    PREFIX = "distilbert."
    ALIASES = OLDER
    IGNORE = ("*.position_ids",)
    TIES = (Tying("distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"),)
    ROWS = f"""
{embeddings("embeddings")}
{block_rows(L, S, "attention", PROJECTIONS, "ffn.lin1 ffn.lin2", "sa_layer_norm output_layer_norm")}
"""
    HEADS = heads_of("DistilBert", "none", "masked_lm", *CHOOSING)

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
        return (InitialSinusoids if self.sinusoidal_pos_embds else Initial)(self.initializer_range)

    def spec(self, mask=None):
        """BERT's blocks, without noise between the attention and the stream."""
        own = attention(self, "dim", "n_heads", with_own(mask, FULL))
        own = replace(own, dropout=self.attention_dropout)
        ffn = FeedForwardSpec(self.hidden_dim, self.activation)
        attends, computes = block(own, ffn, NORM, "post")
        one = (attends, replace(computes, dropout=self.dropout))
        return StackSpec(self.dim, (one,) * self.n_layers, initial=self.initial)

    def embed(self):
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

    def head(self, head):
        D, initial, rate = self.dim, self.initial, self.seq_classif_dropout
        if head == "masked_lm":
            return words_head(self, D, initial, (self.activation, NORM))
        if head in ("token_classification", "question_answering"):
            rate = self.dropout if head == "token_classification" else self.qa_dropout
            return task_head(self, head, D, initial, rate=rate)
        inner = heads.Square(D, "relu", initial)
        return task_head(
            self, head, D, initial, rate=rate, pooling="first", inner=inner, pooled_rate=0.0
        )

    def head_rows(self, head, tied):
        return words_rows(WORDS, tied=tied) if head == "masked_lm" else TASK_ROWS.get(head, "")


WORDS = "vocab_transform vocab_layer_norm vocab_projector"
CLASSIFIER = layer("classifier", "head.classify")
FIRST = layer("pre_classifier", "head.inner") + CLASSIFIER
TASK_ROWS = {
    "sequence_classification": FIRST,
    "token_classification": CLASSIFIER,
    "multiple_choice": FIRST,
    "question_answering": layer("qa_outputs", "head.classify"),
}
