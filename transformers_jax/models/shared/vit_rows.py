"""The names that a Vision Transformer has in files, which many image encoders repeat."""

from __future__ import annotations

IN_MEMORY = (  # the names of transformers v5 in memory, which some files hold
    (r"^((?:\w+\.)?)layers\.", r"\1encoder.layer."),
    (r"\.attention\.([qkv])_proj\.", r".attention.attention.\1_proj."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)

PROJECTIONS = "attention.query attention.key attention.value output.dense"
L = "encoder.layer.{i}"
PATCHES = """
embeddings.cls_token                          | embed.cls        | 1 1 d -> d
embeddings.position_embeddings                | embed.position   | 1 t d -> t d
embeddings.patch_embeddings.projection.weight | embed.patch      | d c p q -> c p q d
embeddings.patch_embeddings.projection.bias   | embed.patch_bias
"""


def hidden_rows(prefix: str) -> str:
    """The rows of what predicts the pixels of hidden patches, and of the vector in their place."""
    return f"""
{prefix}embeddings.mask_token | embed.hidden         | 1 1 d -> d
decoder.0.weight              | head.decode.weight | e d 1 1 -> d e
decoder.0.bias                | head.decode.bias
"""
