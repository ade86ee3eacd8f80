"""DeBERTa (He et al. 2020), the first version. Hugging Face model_type "deberta".

The network of `models.deberta_v2` where each layer projects the relative positions by weights of
its own, keys have no bias, and every distance within the table has a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models.deberta_v2 import DebertaV2Config, L
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.weight_rows import HEADS_IN, HEADS_OUT, S, dense


@dataclass(frozen=True, kw_only=True)
class DebertaConfig(DebertaV2Config):
    """The fields of a DeBERTa config.json; defaults are those of the class in Hugging Face.

    DeBERTa-base (139M) has relative_attention, pos_att_type ("c2p", "p2c") and
    position_biased_input false.
    """

    model_type = "deberta"
    HEADS = heads_of("Deberta", "none", "masked_lm", *LABELLING)
    # what the second version added
    position_buckets: ClassVar[int] = -1
    norm_rel_ebd: ClassVar[str] = "none"
    share_att_key: ClassVar[bool] = False
    conv_kernel_size: ClassVar[int] = 0
    conv_act: ClassVar[str] = "tanh"
    conv_groups: ClassVar[int] = 1

    vocab_size: int = 50265
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072

    @property
    def products(self):
        return 1 + len(self.pos_att_type or ())  # kinds that are no term count as well

    def score(self):
        score = super().score()
        return score and replace(score, bias=("query",))

    def attend(self, mask):
        return replace(super().attend(mask), bias=("query", "value", "out"))

    def attention_rows(self):
        theirs, ours = f"{L}.attention", f"{S}.self"
        return f"""
{theirs}.self.in_proj.weight | {ours}.query {ours}.key {ours}.value | (h n k) d -> n d h k
{theirs}.self.q_bias         | {ours}.query_bias | (h k) -> h k
{theirs}.self.v_bias         | {ours}.value_bias | (h k) -> h k
{dense(f"{theirs}.self.pos_proj", f"{ours}.score.key", HEADS_OUT, None)}
{dense(f"{theirs}.self.pos_q_proj", f"{ours}.score.query", HEADS_OUT, "(h k) -> h k")}
{dense(f"{theirs}.output.dense", f"{ours}.out", HEADS_IN)}
"""
