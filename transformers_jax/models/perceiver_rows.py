"""What files call the parameters of a Perceiver."""

from __future__ import annotations

from dataclasses import replace

from transformers_jax.hub.table import BACKBONE, Row, rows
from transformers_jax.models.perceiver_io import FLOW, PIXELS, READS, VIDEO
from transformers_jax.models.shared.weight_rows import (
    attention,
    behind,
    convolved,
    feed_forward,
    layer,
    norm,
)

PREFIX = "perceiver."
PROJECTIONS = "self.query self.key self.value output.dense"
MODALITIES = ("audio", "image", "label")
READ, E = "input_preprocessor", "inputs_embed"
WORDS_BIAS = "embedding_decoder.bias | head.bias"


def block_text(theirs: str, ours: str, kind: str) -> str:
    """A block: its attention ("cross" or "self") and its MLP, with their norms."""
    text = attention(f"{theirs}.attention", f"{ours}.{kind}", PROJECTIONS)
    text += norm(f"{theirs}.attention.self.layernorm1", f"{ours}.{kind}_norm")
    if kind == "cross":
        text += norm(f"{theirs}.attention.self.layernorm2", f"{ours}.cross.source_norm")
    text += feed_forward(f"{theirs}.mlp", f"{ours}.ffn", "dense1 dense2")
    return text + norm(f"{theirs}.layernorm", f"{ours}.ffn_norm")


def of_one_layer(text: str, group: str) -> tuple[Row, ...]:
    """The rows of a slot that holds one layer, of which the names of files know no number."""

    def stacked(row: Row) -> Row:
        left, right = (row.layout or "d -> d").split(" -> ")
        return replace(row, layout=f"{left} -> 1 {right}")

    return tuple(map(stacked, rows(text, group=group)))


def of_modalities(theirs: str, ours: str) -> str:
    """A row for each modality of a video."""
    return "".join(f"\n{theirs}.{name} | {ours}.{name} | 1 d -> d" for name in MODALITIES)


INPUTS = {
    "text": f"""
{READ}.embeddings.weight          | {E}.table
{READ}.position_embeddings.weight | {E}.position
""",
    "learned": f"""
{READ}.convnet_1x1.weight | {E}.stem.weight | d c p q -> p q c d
{READ}.convnet_1x1.bias   | {E}.stem.bias
{READ}.position_embeddings.position_embeddings | {E}.place.table
{layer(f"{READ}.positions_projection", f"{E}.place.project")}
""",
    "conv": convolved(f"{READ}.convnet", f"{E}.stem.first", "conv batchnorm"),
    "flow": layer(f"{READ}.conv_after_patches", f"{E}.project"),
    "video": of_modalities(f"{READ}.padding", f"{E}.padding")
    + of_modalities(f"{READ}.mask", f"{E}.mask_tokens"),
}
"""By what the input is."""


def decoder(head: str) -> tuple[Row, ...]:
    """The rows of the queries and of what answers them."""
    theirs = "decoder" if head in ("masked_lm", PIXELS) else "decoder.decoder"
    asks = block_text(f"{theirs}.decoding_cross_attention", "queries.blocks.0", "cross")
    places = "output_position_encodings.position_embeddings"
    text = f"{theirs}.{places} | queries_embed.latents"
    if head in (FLOW, PIXELS):
        text = layer(f"{theirs}.final_layer", "head.final")
    elif head == VIDEO:
        text = f"decoder.modalities.label.decoder.{places} | queries_embed.label"
        text += of_modalities("decoder.padding", "queries_embed.padding")
        text += layer(f"{theirs}.final_layer", "head.final")
        for name in MODALITIES:
            output = f"output_postprocessor.modalities.{name}.classifier"
            text += layer(output, f"head.{name}")
    elif head != "masked_lm":
        text += layer(f"{theirs}.final_layer", "head.classify")
    return (*of_one_layer(asks, head), *rows(text, group=head))


def further_rows(head: str) -> tuple[Row, ...]:
    """The rows of the input and of the queries of the chosen head, and then those of the others, so
    that their names are recognised."""
    parts = {name: behind(PREFIX, rows(text, group=name)) for name, text in INPUTS.items()}
    parts |= {name: behind(PREFIX, decoder(name)) for name in READS}
    parts["masked_lm"] += rows(WORDS_BIAS, group="masked_lm")
    own = (head, READS.get(head))
    chosen = [row for name in own for row in parts.pop(str(name), ())]
    return (*chosen, *(away(row) for part in parts.values() for row in part))


def away(row: Row) -> Row:
    """The row of a group that a model does not have."""
    return replace(row, ours=tuple(f"{row.group}:{path}" for path in row.ours))


def table_rows(head: str, layers: int) -> tuple[Row, ...]:
    """All rows of a model with this head, whose latents attend to themselves in so many layers."""
    body = rows("embeddings.latents | latents_embed.latents")
    crossing = block_text("encoder.cross_attention", "latents.blocks.0", "cross")
    body += of_one_layer(crossing, BACKBONE)
    if layers:
        body += rows(block_text("encoder.self_attends.{i}", "latents.blocks.1", "self"))
    return (*behind(PREFIX, body), *further_rows(head))
