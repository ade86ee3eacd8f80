"""BigBird (Zaheer et al. 2020). Hugging Face model_type "big_bird".

BERT whose tokens, in blocks, attend to their own and the neighbouring blocks, the first and the
last one (which attend to all), and a few drawn at random. In rows that are hardly longer than that
all attend to all.

With a key, in training, the random blocks are random: others in each layer, the same in every call.
Without one they are what Hugging Face computes in evaluation: all of them the first block, whose
keys the blocks between the ends then count several times over. The attention weights of sparse
models have no dropout, as in the authors' code. In a packed row blocks and ends are the row's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from transformers_jax.graph import Near, Scattered, Where, with_own
from transformers_jax.graph.layouts import blocked
from transformers_jax.models.bert import MLP, BertConfig
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.weight_rows import feed_forward, layer, norm
from transformers_jax.nn.embed import PadToMultiple
from transformers_jax.nn.head.big_bird import BigBirdQuestionAnswering, QuestionAnsweringBlock
from transformers_jax.spec import Counted, Layout

KINDS = ("block_sparse", "original_full")


@dataclass(frozen=True, kw_only=True)
class BigBirdConfig(BertConfig):
    """The fields of a BigBird config.json; defaults are bigbird-roberta-base (128M)."""

    model_type = "big_bird"
    FIXED = {"position_embedding_type": "absolute"}
    UNUSED = frozenset()
    POOLER = "pooler"
    POOLED = (  # most heads do not read it, but their files hold it
        *("none", "pretraining", "masked_lm", "causal_lm", "sequence_classification"),
        *("token_classification", "multiple_choice"),
    )
    SENTENCE_FIELDS = (*BertConfig.SENTENCE_FIELDS, ("labels",))
    HEADS = heads_of("BigBird", "none", "masked_lm", "pretraining", "causal_lm", *CHOOSING)

    vocab_size: int = 50358
    hidden_act: str = "gelu_new"
    max_position_embeddings: int = 4096
    attention_type: str = "block_sparse"
    block_size: int = 64
    num_random_blocks: int | None = 3
    use_bias: bool = True
    rescale_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    sep_token_id: int | None = 66

    def __post_init__(self):
        super().__post_init__()
        if self.attention_type not in KINDS:
            raise ValueError(
                f"BigBirdConfig: attention_type={self.attention_type!r}: expected one of {KINDS}"
            )
        if self.sparse and self.is_decoder:
            raise ValueError(
                "BigBirdConfig: is_decoder=True with attention_type='block_sparse': blocks attend "
                "to what comes after them; give attention_type='original_full'"
            )

    @property
    def sparse(self) -> bool:
        """Whether tokens attend to blocks, in rows that are long enough; where there is
        cross-attention never, whatever the config says (as in the reference)."""
        return self.attention_type == "block_sparse" and not self.add_cross_attention

    @property
    def longest(self) -> int:
        """The longest row in which all attend to all: two blocks are global, three a window, and
        twice the number of random ones."""
        return (5 + 2 * (self.num_random_blocks or 0)) * self.block_size

    def attend(self, mask):
        attention = super().attend(mask)
        return attention if self.use_bias else replace(attention, bias=("out",))

    def spec(self, mask=None, cross=None):
        """BERT's blocks; where attention is sparse each layer draws a graph of its own."""
        plain, count = super().spec(mask, cross), self.num_random_blocks or 0
        if not self.sparse:
            return plain
        blocks = []
        for number, (attend, feed) in enumerate(plain.blocks):
            own = REAL & (NEIGHBOURS | (NOISE & Scattered(count, number)) if count else NEIGHBOURS)
            op = replace(self.attend(None), mask=with_own(mask, own), dropout=0.0)
            blocks.append((replace(attend, op=op), feed))
        score = Counted(1 + count, "repeats", "first") if count else None
        layout = Blocks(self.block_size, self.longest)
        return replace(plain, blocks=tuple(blocks), score=score, layout=layout)

    def embed(self):
        scale = math.sqrt(self.hidden_size) if self.rescale_embeddings else 1.0
        pad_to = PadToMultiple(self.block_size, self.pad_token_id or 0, self.longest)
        pad_to = pad_to if self.sparse else None
        return replace(super().embed(), scale=scale, scales="all", pad_to=pad_to)

    @property
    def classifier_act(self):
        return self.hidden_act

    def task_options(self, head):
        if head == "multiple_choice":
            return {"rate": self.hidden_dropout_prob}
        return super().task_options(head)

    def head(self, head):
        D, initial, rate = self.hidden_size, self.initial, self.hidden_dropout_prob
        if head != "question_answering":
            return super().head(head)
        refined = QuestionAnsweringBlock(self.feed_forward(), D, self.layer_norm, initial, rate)
        return BigBirdQuestionAnswering(D, initial, refined, self.sep_token_id)

    def head_rows(self, head, tied):
        return QUESTION_ANSWERING if head == "question_answering" else super().head_rows(head, tied)


@dataclass(frozen=True)
class Blocks(Layout):
    """Blocks of `size` tokens, in rows of more than `longest`."""

    size: int
    longest: int
    tags = frozenset({"block", "blocks", "first", "edge", "real", "noise", "repeats"})

    def __call__(self, nodes):
        return blocked(nodes, self.size, self.longest)


REAL = Where("real", of="query")  # padding attends to nothing, as in the reference
NOISE = Where("noise", of="query")
NEIGHBOURS = Where("edge", of="query") | Where("edge") | Near(1, 1, "block")
QUESTION_ANSWERING = (
    feed_forward("qa_classifier", "head.refined.ffn", MLP)
    + norm("qa_classifier.output.LayerNorm", "head.refined.norm")
    + layer("qa_classifier.qa_outputs", "head.classify")
)
