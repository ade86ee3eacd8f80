"""The rows of a head that folds (`nn.folding`), as ESMFold's files name its tensors."""

from __future__ import annotations

from transformers_jax.hub.table import Row, rows, slots
from transformers_jax.models.shared.weight_rows import HEADS_IN, HEADS_OUT, dense, layer, norm
from transformers_jax.nn.folding.trunk import TrunkSpec

HEADS, IN = "(h k) -> h k", "e d -> d e"


def folding_rows(trunk: TrunkSpec, group: str) -> tuple[Row, ...]:
    """The rows of the head of this name."""
    blocks, structure = "trunk.blocks.{i}", "trunk.structure_module"
    ours = "head.trunk"
    once = ends() + between("trunk", ours) + steps(trunk, structure, f"{ours}.structure")
    block = of_block(blocks, f"{ours}.stack.blocks.{{slot}}")
    return (*rows(once, group=group), *slots(block, trunk.stack().slots, group=group))


def ends() -> str:
    """What leads from the language model to the trunk, and from it to the answers."""
    text = "\nesm_s_combine | head.combine\nembedding.weight | head.embed"
    text += norm("esm_s_mlp.0", "head.norm") + norm("lddt_head.0", "head.sure_norm")
    names = {"esm_s_mlp.1": "enter", "esm_s_mlp.3": "enter_more", "lm_head": "words"}
    names |= {"distogram_head": "distances", "ptm_head": "errors"}
    names |= {f"lddt_head.{number + 1}": f"sure.{number}" for number in range(3)}
    return text + "".join(layer(theirs, f"head.{ours}") for theirs, ours in names.items())


def between(theirs: str, ours: str) -> str:
    """The tables and layers of a trunk around its blocks."""
    text = f"\n{theirs}.pairwise_positional_embedding.embedding.weight | {ours}.apart"
    text += f"\n{theirs}.recycle_disto.weight | {ours}.bins"
    for name, own in (("s", "norm"), ("z", "pair_norm")):
        text += norm(f"{theirs}.recycle_{name}_norm", f"{ours}.{own}")
    for name, own in (("s", "leave"), ("z", "leave_pair")):
        text += layer(f"{theirs}.trunk2sm_{name}", f"{ours}.{own}")
    return text


def of_block(theirs: str, ours: str) -> str:
    """A block of the trunk."""
    text = norm(f"{theirs}.layernorm_1", f"{ours}.attend_norm")
    text += norm(f"{theirs}.pair_to_sequence.layernorm", f"{ours}.attend.pair_norm")
    text += f"\n{theirs}.pair_to_sequence.linear.weight | {ours}.attend.bias | h e -> e h"
    own = " ".join(f"{ours}.attend.{name}" for name in ("query", "key", "value"))
    text += f"\n{theirs}.seq_attention.proj.weight | {own} | (h n k) d -> n d h k"
    text += dense(f"{theirs}.seq_attention.o_proj", f"{ours}.attend.out", HEADS_IN)
    text += dense(f"{theirs}.seq_attention.g_proj", f"{ours}.attend.gate", HEADS_OUT, HEADS)
    text += network(f"{theirs}.mlp_seq.mlp", f"{ours}.compute_norm", f"{ours}.compute")
    text += network(
        f"{theirs}.mlp_pair.mlp", f"{ours}.compute_pair_norm", f"{ours}.compute_pair.op"
    )
    text += norm(f"{theirs}.sequence_to_pair.layernorm", f"{ours}.hear.norm")
    says, fan = f"{theirs}.sequence_to_pair.proj", "(s f) d -> d s f"
    text += dense(says, f"{ours}.hear.up", fan, "(s f) -> s f")
    text += dense(f"{theirs}.sequence_to_pair.o_proj", f"{ours}.hear.down", "e f -> f e")
    for name, way in (("out", "starts"), ("in", "ends")):
        text += multiplication(f"{theirs}.tri_mul_{name}", f"{ours}.multiply_{way}")
    for name, way in (("start", "starts"), ("end", "ends")):
        text += triangle(f"{theirs}.tri_att_{name}", f"{ours}.attend_{way}")
    return text


def network(theirs: str, its_norm: str, ours: str) -> str:
    """A token-wise network behind its norm."""
    text = norm(f"{theirs}.0", its_norm) + dense(f"{theirs}.1", f"{ours}.up", "f d -> d f")
    return text + dense(f"{theirs}.3", f"{ours}.down", "d f -> f d")


def multiplication(theirs: str, ours: str) -> str:
    """Triangles of pairs, multiplied."""
    text = norm(f"{theirs}.layer_norm_in", f"{ours}_norm")
    text += norm(f"{theirs}.layer_norm_out", f"{ours}.norm")
    for name, side in (("a", "left"), ("b", "right")):
        text += f"\n{theirs}.linear_{name}_p.weight | {ours}.{side}.weight | {IN}"
        text += f"\n{theirs}.linear_{name}_p.bias | {ours}.{side}.bias"
        text += dense(f"{theirs}.linear_{name}_g", f"{ours}.{side}.gate", IN)
    text += dense(f"{theirs}.linear_z", f"{ours}.out", IN)
    return text + dense(f"{theirs}.linear_g", f"{ours}.gate", IN)


def triangle(theirs: str, ours: str) -> str:
    """Attention along triangles of pairs."""
    text = norm(f"{theirs}.layer_norm", f"{ours}_norm")
    text += f"\n{theirs}.linear.weight | {ours}.bias | h e -> e h"
    for name, own in (("q", "query"), ("k", "key"), ("v", "value")):
        text += dense(f"{theirs}.mha.linear_{name}", f"{ours}.{own}", HEADS_OUT, None)
    text += dense(f"{theirs}.mha.linear_o", f"{ours}.out", HEADS_IN)
    return text + dense(f"{theirs}.mha.linear_g", f"{ours}.gate", HEADS_OUT, HEADS)


def steps(trunk: TrunkSpec, theirs: str, ours: str) -> str:
    """The structure module, whose block has one set of parameters for all steps."""
    text = norm(f"{theirs}.layer_norm_s", f"{ours}.norm")
    text += norm(f"{theirs}.layer_norm_z", f"{ours}.pair_norm")
    text += layer(f"{theirs}.linear_in", f"{ours}.enter")
    block, angles = f"{ours}.stack.blocks.0", f"{ours}.angles"
    shared = points(f"{theirs}.ipa", f"{block}.attend")
    shared += norm(f"{theirs}.layer_norm_ipa", f"{block}.attend_norm")
    shared += norm(f"{theirs}.transition.layer_norm", f"{block}.compute_norm")
    for number in range(trunk.structure.transitions):
        for part in range(3):
            name = f"{theirs}.transition.layers.{number}.linear_{part + 1}"
            shared += layer(name, f"{block}.compute.layers.{number}.{part}")
    shared += layer(f"{theirs}.bb_update.linear", f"{block}.move.update")
    text += first_of_one(shared)
    names = {"linear_in": "now", "linear_initial": "before", "linear_out": "out"}
    for number in range(trunk.structure.depth):
        names |= {f"layers.{number}.linear_{n + 1}": f"layers.{number}.{n}" for n in range(2)}
    return text + "".join(
        layer(f"{theirs}.angle_resnet.{name}", f"{angles}.{own}") for name, own in names.items()
    )


def points(theirs: str, ours: str) -> str:
    """Invariant point attention."""
    text = f"\n{theirs}.head_weights | {ours}.weight | h -> h"
    text += dense(f"{theirs}.linear_q", f"{ours}.query", HEADS_OUT, HEADS)
    both = " ".join(f"{ours}.{name}" for name in ("key", "value"))
    biases = " ".join(f"{ours}.{name}_bias" for name in ("key", "value"))
    text += f"\n{theirs}.linear_kv.weight | {both} | (h n k) d -> n d h k"
    text += f"\n{theirs}.linear_kv.bias | {biases} | (h n k) -> n h k"
    for name, own in (("q", "points"), ("kv", "places")):
        cut = "(c h p) d -> d h p c", "(c h p) -> h p c"
        text += dense(f"{theirs}.linear_{name}_points", f"{ours}.{own}", *cut)
    text += dense(f"{theirs}.linear_b", f"{ours}.bias", "h e -> e h", "h -> h")
    return text + dense(f"{theirs}.linear_out", f"{ours}.out", "d r -> r d", "d -> d")


def first_of_one(text: str) -> str:
    """The same rows of parameters with a leading axis of one set of layers."""

    def line(row: str) -> str:
        theirs, ours, layout = (*(cell.strip() for cell in row.split("|")), "d -> d")[:3]
        left, right = layout.split(" -> ")
        right = f"n 1 {right[2:]}" if right.startswith("n ") else f"1 {right}"
        return f"{theirs} | {ours} | {left} -> {right}"

    return "".join(f"\n{line(row)}" for row in text.splitlines() if row)
