"""Rows that the weight tables of many families repeat, as text for `hub.table.rows`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from transformers_jax.hub.table import BACKBONE, Row, Table, rows, slots

S = "stack.blocks.{slot}"  # a block of a network of one tower

OLDER = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))  # what TensorFlow calls a norm's parts

PROJECTIONS = "q_proj k_proj v_proj out_proj"  # of attention, in fairseq and much that followed
HEADS_OUT = "(h k) d -> d h k"  # torch's Linear holds (out, in); ours is (in, heads, width)
HEADS_IN = "d (h k) -> h k d"


def dense(theirs: str, ours: str, layout: str = "f d -> d f", bias: str | None = "") -> str:
    """A Linear of torch: weight and (unless `bias` is None) bias, whose pattern `bias` is."""
    text = f"\n{theirs}.weight | {ours} | {layout}"
    return text if bias is None else text + f"\n{theirs}.bias | {ours}_bias | {bias}"


def layer(theirs: str, ours: str) -> str:
    """A Linear of torch that is a `nn.head.Dense` or `nn.head.Square` of ours."""
    return f"\n{theirs}.weight | {ours}.weight | e d -> d e\n{theirs}.bias | {ours}.bias"


def norm(theirs: str, ours: str, bias: bool = True) -> str:
    """A LayerNorm, or an RMSNorm if it has no bias."""
    text = f"\n{theirs}.weight | {ours}.scale"
    return text + f"\n{theirs}.bias | {ours}.shift" if bias else text


BATCH_NORM = {
    "weight": "scale",
    "bias": "shift",
    "running_mean": "mean",
    "running_var": "variance",
    "num_batches_tracked": "count",
}


def batch_norm(theirs: str, ours: str) -> str:
    """A BatchNorm with its running statistics."""
    return "".join(f"\n{theirs}.{name} | {ours}.{own}" for name, own in BATCH_NORM.items())


def convolved(theirs: str, ours: str, names: str = "convolution normalization") -> str:
    """A convolution without bias and its batch norm."""
    convolution, name = names.split()
    text = f"\n{theirs}.{convolution}.weight | {ours}.convolution.weight | d c p q -> p q c d"
    return text + batch_norm(f"{theirs}.{name}", f"{ours}.norm")


def attention(theirs: str, ours: str, names: str = "q k v o", bias: bool = True) -> str:
    """Query, key, value and output projections, each a Linear of its own."""
    q, k, v, out = names.split()
    of_heads = "(h k) -> h k" if bias else None
    text = "".join(
        dense(f"{theirs}.{name}", f"{ours}.{role}", HEADS_OUT, of_heads)
        for name, role in ((q, "query"), (k, "key"), (v, "value"))
    )
    return text + dense(f"{theirs}.{out}", f"{ours}.out", HEADS_IN, "" if bias else None)


def fused(theirs: str, ours: str, groups: int | None = None, order: str = "query key value") -> str:
    """Query, key and value in one Linear: those of one head side by side, then those of the next;
    or, in so many groups of heads, all queries of a group, its keys and its values, in this
    `order`."""
    paths = " ".join(f"{ours}.{name}" for name in order.split())
    biases = " ".join(f"{path}_bias" for path in paths.split())
    weight, bias = "(h n k) d -> n d h k", "(h n k) -> n h k"
    if groups is not None:
        weight, bias = (" + ".join([one] * 3) for one in ("(h k) d -> d h k", "(h k) -> h k"))
        weight, bias = f"{groups} * ({weight})", f"{groups} * ({bias})"
    return f"\n{theirs}.weight | {paths} | {weight}\n{theirs}.bias | {biases} | {bias}"


def feed_forward(theirs: str, ours: str, names: str, bias: bool = True) -> str:
    """What enters and what leaves a feed-forward network; of a gated one, the gate before them."""
    gated, pattern = len(names.split()) == 3, "" if bias else None
    roles = ("gate", "up", "down") if gated else ("up", "down")
    layouts = dict.fromkeys(roles, "f d -> d f") | {"down": "d f -> f d"}
    return "".join(
        dense(f"{theirs}.{name}", f"{ours}.{role}", layouts[role], pattern)
        for name, role in zip(names.split(), roles)
    )


def block_rows(
    theirs: str, ours: str, attends: str, projections: str, mlp: str, norms: str, bias: bool = True
) -> str:
    """A standard block: self-attention, and cross-attention where `attends` has a second name, with
    these `projections` (see `attention`); the layers of its feed-forward network (see
    `feed_forward`); the norm of each."""
    *attention_norms, mlp_norm = norms.split()
    text = ""
    for kind, name, its_norm in zip(("self", "cross"), attends.split(), attention_norms):
        text += attention(f"{theirs}.{name}", f"{ours}.{kind}", projections, bias)
        text += norm(f"{theirs}.{its_norm}", f"{ours}.{kind}_norm", bias)
    text += feed_forward(theirs, f"{ours}.ffn", mlp, bias)
    return text + norm(f"{theirs}.{mlp_norm}", f"{ours}.ffn_norm", bias)


def decoder_backbone(
    table: str, norms: str, attends: str, mlp: str, groups: int | None, order: str
) -> str:
    """The embeddings, layers and last norm of a decoder, by the names that `models.shared.decoders`
    explains."""
    words, layer, last = table.split()
    name, *projections = attends.split()
    text = f"\n{words}.weight | embed.table"
    for theirs, ours in zip(norms.split(), ("self_norm", "ffn_norm")):
        text += norm(f"{layer}.{theirs}", f"{S}.{ours}")
    if len(projections) == 2:
        text += fused(f"{layer}.{name}.{projections[0]}", f"{S}.self", groups, order)
        text += dense(f"{layer}.{name}.{projections[1]}", f"{S}.self.out", HEADS_IN)
    else:
        text += attention(f"{layer}.{name}", f"{S}.self", " ".join(projections))
    return text + feed_forward(layer, f"{S}.ffn", mlp) + norm(last, "stack.norm")


def embeddings(theirs: str, *names: str) -> str:
    """The embeddings of BERT and its variants, with the norm behind them: words, positions, and
    `names` of further tables ("type")."""
    tables = {"table": "word", "position": "position", "type": "token_type"}
    text = "".join(
        f"\n{theirs}.{tables[ours]}_embeddings.weight | embed.{ours}"
        for ours in ("table", "position", *names)
    )
    return text + norm(f"{theirs}.LayerNorm", "embed.norm")


def behind(prefix: str, table: Iterable[Row]) -> tuple[Row, ...]:
    """The rows with this prefix in front of their names."""
    return tuple(replace(row, theirs=prefix + row.theirs) for row in table)


def backbone(text: str, layers: Sequence[range] = (range(1),)) -> tuple[Row, ...]:
    """The rows of a backbone: those of the blocks (`{slot}`) once per slot of the stack."""
    lines = text.splitlines()
    blocks = "\n".join(line for line in lines if "{slot}" in line)
    others = "\n".join(line for line in lines if "{slot}" not in line)
    return (*rows(others), *slots(blocks, layers))


def of_heads(texts: Mapping[str, str], chosen: str) -> tuple[Row, ...]:
    """The rows of the chosen head, and those of the others so that their names are recognised.

    A file may hold heads that the model does not have; their rows lead to no parameter.
    """
    table = list(rows(texts.get(chosen, ""), group=chosen))
    for head, text in texts.items():
        if head != chosen:
            foreign = rows(text, group=head)
            table += [replace(r, ours=tuple(f"{head}:{path}" for path in r.ours)) for r in foreign]
    return tuple(table)


def nested(table: Table, theirs: str, ours: Mapping[str, str], bare: bool = False) -> Table:
    """The table of a model that is part of another: `theirs` in front of every name, every
    parameter at the path that `ours` says for its part. `bare`: as a model without a head is
    saved."""

    def named(row: Row) -> Row:
        name = (
            row.theirs.removeprefix(table.prefix) if bare and row.group == BACKBONE else row.theirs
        )
        parts = (path.partition(".") for path in row.ours)
        # what the whole lacks (a decoder's pooler) leads to no parameter, as in other tables
        paths = tuple(ours.get(first, theirs + first) + dot + rest for first, dot, rest in parts)
        return replace(row, theirs=theirs + name, ours=paths)

    def renamed(name: str) -> str:
        return theirs + (name.removeprefix(table.prefix) if bare else name)

    return Table(
        tuple(named(row) for row in table.rows),
        aliases=tuple((behind_prefix(old, theirs), new) for old, new in table.aliases),
        ignore=tuple(theirs + pattern for pattern in table.ignore),
        ties=tuple(tie.renamed(renamed) for tie in table.ties),
        computed=tuple(replace(one, name=renamed(one.name)) for one in table.computed),
    )


def behind_prefix(pattern: str, prefix: str) -> str:
    """The regular expression for names that have this prefix in front: what was to match at the
    beginning matches behind it."""
    return (
        f"(?<=^{re.escape(prefix)}){pattern[1:]}" if pattern.startswith("^") and prefix else pattern
    )
