"""Encoders for long documents: two layers of base width, 1k to 16k tokens, one row, float32.

Forward only, and with the gradient by every parameter. PyTorch runs its own implementation of the
same model, with its eager attention and, where it has that, scaled_dot_product_attention. What a
process may allocate is bounded, so that T x S matrices that do not fit end a side, not the machine.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "tokens/s"
LENGTHS = {f"{n}k": 1024 * n for n in (1, 2, 4, 8, 16)}
VOCAB = 1024
BASE = dict(
    vocab_size=VOCAB,
    hidden_size=768,
    num_hidden_layers=2,
    num_attention_heads=12,
    max_position_embeddings=LENGTHS["16k"] + 2,
)
QUIET = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
LONGT5 = dict(
    model_type="longt5",
    vocab_size=VOCAB,
    d_model=768,
    d_kv=64,
    d_ff=2048,
    num_layers=2,
    num_heads=12,
    dropout_rate=0.0,
    feed_forward_proj="gated-gelu",
    local_radius=127,
    global_block_size=16,
)
MODELS: dict[str, dict[str, Any]] = {
    "longformer": dict(
        theirs="LongformerModel",
        config=dict(
            model_type="longformer",
            **BASE,
            **QUIET,
            intermediate_size=3072,
            attention_window=[512, 512],
            type_vocab_size=1,
            pad_token_id=1,
        ),
    ),
    "big_bird": dict(
        theirs="BigBirdModel",
        config=dict(
            model_type="big_bird",
            **BASE,
            **QUIET,
            intermediate_size=3072,
            attention_type="block_sparse",
            block_size=64,
            num_random_blocks=3,
            use_bias=True,
        ),
    ),
    "longt5 local": dict(
        theirs="LongT5EncoderModel", config=LONGT5 | dict(encoder_attention_type="local")
    ),
    "longt5 tglobal": dict(
        theirs="LongT5EncoderModel",
        config=LONGT5 | dict(encoder_attention_type="transient-global"),
    ),
    "perceiver": dict(  # 256 latents, which alone read the row
        theirs="PerceiverModel",
        config=dict(
            model_type="perceiver",
            d_model=768,
            max_position_embeddings=2**14,  # as many vectors as the longest row has
            num_latents=256,
            d_latents=768,
            num_self_attends_per_block=2,
            num_self_attention_heads=12,
            num_cross_attention_heads=12,
            self_attention_widening_factor=4,
            attention_probs_dropout_prob=0.0,
        ),
    ),
    "modernbert": dict(
        theirs="ModernBertModel",
        config=dict(
            model_type="modernbert",
            **BASE,
            intermediate_size=1152,
            local_attention=128,
            pad_token_id=0,
            cls_token_id=1,
            sep_token_id=2,
            bos_token_id=1,
            eos_token_id=2,
        ),
    ),
}
CASES: dict[str, dict[str, Any]] = {
    f"long {name} {size} {what}": dict(**model, length=length, gradient=what == "gradient")
    for name, model in MODELS.items()
    for size, length in LENGTHS.items()
    for what in ("forward", "gradient")
}
SHARE = 0.6  # of the machine's memory


def head(setting: dict[str, Any]) -> str:
    """The head without a decoder."""
    return "encoder" if setting["config"]["model_type"] == "longt5" else "none"


def arrays(setting: dict[str, Any]) -> dict[str, Any]:
    """Ids and masks Int[1 T]; Longformer's first token is global, Perceiver reads vectors."""
    import numpy as np

    if setting["config"]["model_type"] == "perceiver":
        shape = (1, setting["length"], setting["config"]["d_model"])
        vectors = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        return {"inputs": vectors, "attention_mask": np.ones(shape[:2], np.int64)}
    ids = np.random.default_rng(0).integers(3, VOCAB, (1, setting["length"]))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if setting["config"]["model_type"] == "longformer":
        inputs["global_attention_mask"] = (np.arange(ids.size) == 0).astype(ids.dtype)[None]
    return inputs


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model with random weights."""
    import jax

    import transformers_jax as tj

    key = jax.random.key(0)
    tj.from_config(setting["config"], head=head(setting), key=key).save_pretrained(folder)


def waves() -> Any:
    """What the states are multiplied with, Float[D]: after a norm their own squares hardly move."""
    import numpy as np

    return np.cos(np.arange(BASE["hidden_size"]))


def some(last: Any) -> list[float]:
    """A few numbers of the last hidden state, from all over the row."""
    length = last.shape[1]
    return [float(last[0, at, at % 64]) for at in range(0, length, length // 8)]


def ours(setting: dict[str, Any], folder: str) -> Side:
    """The model as a function of its parameters, compiled."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    model = tj.from_pretrained(folder, head=head(setting))
    read = {name: jnp.asarray(rows) for name, rows in arrays(setting).items()}
    apply, params = tj.functional(model)
    forward = jax.jit(lambda params: apply(params, **read).last_hidden_state)
    work = setting["length"]
    if not setting["gradient"]:
        answer = some(np.asarray(forward(params)))
        return Side(lambda: forward(params).block_until_ready(), work, answer)
    wave = jnp.asarray(waves(), jnp.float32)
    product = lambda params: (apply(params, **read).last_hidden_state * wave).mean()
    both = jax.jit(jax.value_and_grad(product))
    loss, grads = both(params)
    norm = sum(float(jnp.square(leaf).sum()) for leaf in jax.tree.leaves(grads)) ** 0.5
    return Side(lambda: jax.block_until_ready(both(params)), work, [float(loss), norm])


def torch_side(setting: dict[str, Any], folder: str, attention: str) -> Side:
    """transformers' model with an attention of its own choice."""
    import os
    import resource

    import torch
    import transformers

    most = int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    kind = getattr(transformers, setting["theirs"])
    if attention == "sdpa" and not kind._supports_sdpa:
        raise RuntimeError(f"{kind.__name__} has no scaled_dot_product_attention")
    model = kind.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).eval()
    read = {name: torch.tensor(rows) for name, rows in arrays(setting).items()}
    work, wave = setting["length"], torch.tensor(waves(), dtype=torch.float32)

    def forward():
        with torch.inference_mode():
            return model(**read).last_hidden_state

    def both():
        model.zero_grad(set_to_none=True)
        loss = (model(**read).last_hidden_state * wave).mean()
        loss.backward()
        return loss

    if not setting["gradient"]:
        return Side(forward, work, some(forward()))
    loss = both()
    norm = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    return Side(both, work, [loss.item(), norm**0.5])


def eager(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch's eager attention."""
    return torch_side(setting, folder, "eager")


def sdpa(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch's scaled_dot_product_attention."""
    return torch_side(setting, folder, "sdpa")


SIDES = {"ours": ours, "eager": eager, "sdpa": sdpa}
