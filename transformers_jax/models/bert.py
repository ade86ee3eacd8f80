"""BERT (Devlin et al. 2018). Hugging Face model_type "bert"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.graph import FULL
from transformers_jax.hub.table import Table, rows, slots
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.rows import S, attention, dense, layer, norm, of_heads
from transformers_jax.models.wiring import Single
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import (
    AttentionSpec,
    Branch,
    FeedForward,
    Initial,
    LayerNorm,
    StackSpec,
)


@dataclass(frozen=True, kw_only=True)
class BertConfig(FamilyConfig):
    """The fields of a BERT config.json; defaults are BERT-base (110M)."""

    model_type = "bert"
    FIXED = {"position_embedding_type": "absolute", "directionality": "bidi"}
    UNUSED = frozenset(
        """pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
        pooler_type
        """.split()
    )
    TIES = ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight")
    TIED_TOO = (("cls.predictions.bias", "cls.predictions.decoder.bias"),)
    HEADS = {
        "BertModel": "none",
        "BertForMaskedLM": "masked_lm",
        "BertForPreTraining": "pretraining",
        "BertForNextSentencePrediction": "next_sentence",
        "BertForSequenceClassification": "sequence_classification",
        "BertForTokenClassification": "token_classification",
        "BertForMultipleChoice": "multiple_choice",
        "BertForQuestionAnswering": "question_answering",
    }

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0

    @property
    def initial(self) -> Initial:
        """normal(0.02) everywhere (Devlin et al. 2018, released code)."""
        return Initial(self.initializer_range)

    def spec(self, mask=None) -> StackSpec:
        """Post-norm blocks of bidirectional self-attention and an MLP."""
        norm, rate = LayerNorm(self.layer_norm_eps), self.hidden_dropout_prob
        attention = AttentionSpec(
            heads=self.num_attention_heads,
            kv=self.head_width("hidden_size", "num_attention_heads"),
            mask=mask or FULL,
            bias=("query", "key", "value", "out"),
            dropout=self.attention_probs_dropout_prob,
        )
        ffn = FeedForward(self.intermediate_size, self.hidden_act)
        block = (
            Branch("self", attention, norm, "post", rate),
            Branch("ffn", ffn, norm, "post", rate),
        )
        return StackSpec(self.hidden_size, self.num_hidden_layers, (block,), initial=self.initial)

    def build(self, head, execution, mask=None) -> Single:
        embed = EmbedSpec(
            vocab=self.vocab_size,
            width=self.hidden_size,
            positions=self.max_position_embeddings,
            types=self.type_vocab_size,
            norm=LayerNorm(self.layer_norm_eps),
            dropout=self.hidden_dropout_prob,
            initial=self.initial,
        )
        pooler = heads.Pooler(self.hidden_size, self.initial) if head in POOLED else None
        stack = Stack(self.spec(mask), execution)
        return Single(TokenEmbedder(embed), stack, self._head(head), pooler)

    def _head(self, head):
        D, N, initial = self.hidden_size, self.num_labels, self.initial
        rate = self.classifier_dropout
        rate = self.hidden_dropout_prob if rate is None else rate
        if head in ("masked_lm", "pretraining"):
            transform = heads.Square(D, self.hidden_act, initial, LayerNorm(self.layer_norm_eps))
            tied = self.tie_word_embeddings
            options = dict(tied=tied, shift=False, bias=True, unread_bias=not tied)
            words = heads.LanguageModel(self.vocab_size, D, initial, transform=transform, **options)
            return words if head == "masked_lm" else heads.Pretraining(words, D, initial)
        makers = {
            "none": lambda: None,
            "next_sentence": lambda: heads.NextSentence(D, initial),
            "sequence_classification": lambda: heads.SequenceClassification(
                D, N, initial, last=False, problem=self.problem_type, rate=rate
            ),
            "token_classification": lambda: heads.TokenClassification(D, N, initial, rate),
            "multiple_choice": lambda: heads.MultipleChoice(D, initial, rate),
            "question_answering": lambda: heads.QuestionAnswering(D, initial),
        }
        return makers[head]()

    def table(self, head) -> Table:
        tied = self.tie_word_embeddings
        # a model without a head is saved without the prefix, its pooler included
        pooler = POOLER.replace("bert.", "") if head == "none" else POOLER
        texts = {name: head_rows(name, tied and name == head) for name in self.HEADS.values()}
        return Table(
            (*slots(BACKBONE, 1), *rows(pooler, group="pooler"), *of_heads(texts, head)),
            prefix="bert.",
            aliases=((r"\.gamma$", ".weight"), (r"\.beta$", ".bias")),
            ignore=("*.position_ids", *(UNTIED if tied else ())),
            stand_ins=(self.TIES, *self.TIED_TOO) if tied else (),
        )


def head_rows(head: str, tied: bool) -> str:
    """The rows of one head."""
    if head == "next_sentence":
        return SENTENCE.format(sentence="head")
    if head in ("masked_lm", "pretraining"):
        words = "head.words" if head == "pretraining" else "head"
        transform = "cls.predictions.transform"
        text = layer(f"{transform}.dense", f"{words}.transform")
        text += norm(f"{transform}.LayerNorm", f"{words}.transform.norm")
        text += LM_ROWS[tied].format(words=words)
        return text + (SENTENCE.format(sentence="head.sentence") if head == "pretraining" else "")
    name = "qa_outputs" if head == "question_answering" else "classifier"
    return "" if head == "none" else layer(name, "head.classify")


L = "bert.encoder.layer.{i}"
BACKBONE = f"""
bert.embeddings.word_embeddings.weight       | embed.table
bert.embeddings.position_embeddings.weight   | embed.position
bert.embeddings.token_type_embeddings.weight | embed.type
{norm("bert.embeddings.LayerNorm", "embed.norm")}
{attention(f"{L}.attention", f"{S}.self", "self.query self.key self.value output.dense")}
{norm(f"{L}.attention.output.LayerNorm", f"{S}.self_norm")}
{dense(f"{L}.intermediate.dense", f"{S}.ffn.up")}
{dense(f"{L}.output.dense", f"{S}.ffn.down", "d f -> f d")}
{norm(f"{L}.output.LayerNorm", f"{S}.ffn_norm")}
"""
POOLER = layer("bert.pooler.dense", "pooler")
SENTENCE = layer("cls.seq_relationship", "{sentence}.classify")
UNTIED = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
LM_ROWS = {
    True: "\ncls.predictions.bias | {words}.bias",
    # Untied, a file holds two biases and only the decoder's own counts.
    False: """
cls.predictions.bias           | {words}.unread_bias
cls.predictions.decoder.weight | {words}.table
cls.predictions.decoder.bias   | {words}.bias
""",
}
POOLED = ("none", "pretraining", "next_sentence", "sequence_classification", "multiple_choice")
