"""`generate` of both libraries: greedy, beams, sampling and drafts, of GPT-2 124M, T5-small and a
Llama of a billion parameters.

PyTorch's compiled side keeps a static cache and compiles the model's forward, which is what
transformers does for a static cache on accelerators; it has none for beams and drafts.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "tokens/s"
NEW = 64
GREEDY: dict[str, Any] = {}
HOW: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beam 4": dict(num_beams=4),
    "sampling": dict(do_sample=True, temperature=0.8, top_k=50, top_p=0.95),
    "look-up": dict(prompt_lookup_num_tokens=5),
    "draft": dict(
        num_assistant_tokens=5,
        num_assistant_tokens_schedule="constant",
        assistant_confidence_threshold=0.0,
    ),
}
DRAFTS = 2  # layers of the model that drafts
LLAMA = dict(  # as many parameters as Llama 3.2 1B, with a smaller vocabulary
    vocab_size=32000, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
    num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=2048,
    tie_word_embeddings=True, initializer_range=0.05, bos_token_id=None, eos_token_id=None,
)  # fmt: skip


def case(model: str, how: str, batch: int, dtype: str = "float32", new: int = NEW) -> Any:
    """A setting."""
    return dict(model=model, how=how, batch=batch, dtype=dtype, prompt=16, new=new)


BATCHES = (1, 8, 32)
CASES: dict[str, dict[str, Any]] = {
    **{f"gpt2 decode batch {n}": case("gpt2", "greedy", n) for n in BATCHES},
    **{f"gpt2 beam 4 batch {n}": case("gpt2", "beam 4", n) for n in BATCHES},
    **{f"gpt2 sampling batch {n}": case("gpt2", "sampling", n) for n in BATCHES},
    "gpt2 look-up batch 1": case("gpt2", "look-up", 1),
    "gpt2 draft batch 1": case("gpt2", "draft", 1),
    **{f"t5-small decode batch {n}": case("t5-small", "greedy", n) for n in BATCHES},
    **{f"t5-small beam 4 batch {n}": case("t5-small", "beam 4", n) for n in BATCHES},
    **{f"t5-small sampling batch {n}": case("t5-small", "sampling", n) for n in BATCHES},
    **{
        f"llama 1b {dtype} {name} batch {n}": case("llama", how, n, dtype, new=16)
        for dtype in ("float32", "bfloat16")
        for name, how in (("decode", "greedy"), ("beam 4", "beam 4"), ("sampling", "sampling"))
        for n in BATCHES
    },
}


def config(setting: dict[str, Any]) -> Any:
    """The model's config; weights are large, so that texts do not repeat."""
    import transformers_jax as tj

    if setting["model"] == "llama":
        return tj.LlamaConfig(**LLAMA), "causal_lm"
    if setting["model"] == "t5-small":
        # an output table of its own, or every word would be followed by itself
        own = dict(eos_token_id=None, decoder_start_token_id=0, tie_word_embeddings=False)
        return tj.T5Config(vocab_size=32128, initializer_factor=3.0, **own), "seq2seq_lm"
    return tj.GPT2Config(bos_token_id=None, eos_token_id=None, initializer_range=0.1), "causal_lm"


def tokens(setting: dict[str, Any]) -> Any:
    """Ids Int[B T], the same on all sides; for look-up a text that repeats itself."""
    import numpy as np

    shape = (setting["batch"], setting["prompt"])
    ids = np.random.default_rng(0).integers(3, 30000, shape)
    return np.tile(ids, 8) if setting["how"] == "look-up" else ids


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model with random weights."""
    import jax

    import transformers_jax as tj

    made, head = config(setting)
    model = tj.from_config(made, head=head, key=jax.random.key(0), dtype=setting["dtype"])
    if setting["how"] == "draft":
        drafts = tj.from_config(made.replace(n_layer=DRAFTS), head=head, key=jax.random.key(0))
        model = agreeing(model, drafts)
        drafts.save_pretrained(f"{folder}/drafts")
    model.save_pretrained(folder)


def agreeing(model: Any, drafts: Any) -> Any:
    """The model with the weights of the one that drafts, whose further layers add nothing: every
    draft is right, so that this is what drafts can save at best."""
    import transformers_jax as tj
    from transformers_jax.nn.param import flatten, params, unflatten

    values, few = flatten(params(model)), flatten(params(drafts))
    for path, value in values.items():
        if value.shape == few[path].shape:
            values[path] = few[path]
        else:  # of all layers
            values[path] = (0 * value).at[:DRAFTS].set(few[path])
    return tj.bind(model, unflatten(values))


def ours(setting: dict[str, Any], folder: str) -> Side:
    """`tj.generate`."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    model = tj.from_pretrained(folder, layers="list", dtype=setting["dtype"])
    ids = jnp.asarray(tokens(setting), jnp.int32)
    options = dict(HOW[setting["how"]], max_new_tokens=setting["new"], pad_token_id=0)
    if options.get("do_sample"):
        options["key"] = jax.random.key(0)
    if setting["how"] == "draft":
        options["assistant_model"] = tj.from_pretrained(f"{folder}/drafts")
    run = lambda: np.asarray(tj.generate(model, input_ids=ids, **options))
    return Side(run, setting["batch"] * setting["new"], some(run(), ids, setting))


def some(made: Any, ids: Any, setting: dict[str, Any]) -> list[float]:
    """The first new tokens of the first row; none where they are drawn."""
    if setting["how"] == "sampling":
        return []
    first = 1 if setting["model"].startswith("t5") else ids.shape[1]
    # in bfloat16 the two likeliest tokens may differ by less than is rounded
    return [float(n) for n in made[0, first : first + (1 if "b" in setting["dtype"] else 16)]]


def torch_side(setting: dict[str, Any], folder: str, compiled: bool) -> Side:
    """transformers' generate, with its dynamic cache or compiled with a static one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    of = AutoModelForSeq2SeqLM if setting["model"].startswith("t5") else AutoModelForCausalLM
    dtype = getattr(torch, setting["dtype"])
    model = of.from_pretrained(folder, attn_implementation="sdpa", dtype=dtype).eval()
    options: dict[str, Any] = dict(do_sample=False, use_cache=True, pad_token_id=0)
    options |= dict(max_new_tokens=setting["new"], min_new_tokens=setting["new"])
    options |= HOW[setting["how"]]
    if setting["how"] == "draft":
        drafts = of.from_pretrained(f"{folder}/drafts", attn_implementation="sdpa").eval()
        # the assistant's own config says how many, and when it stops
        for name in HOW["draft"]:
            setattr(drafts.generation_config, name, options.pop(name))
        options["assistant_model"] = drafts
    if compiled:
        model.forward = torch.compile(model.forward)
        options["cache_implementation"] = "static"
    ids = torch.tensor(tokens(setting))
    mask = torch.ones_like(ids)

    def run():
        with torch.inference_mode():
            return model.generate(ids, attention_mask=mask, **options)

    return Side(run, setting["batch"] * setting["new"], some(run(), ids, setting))


def eager(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch in eager mode."""
    return torch_side(setting, folder, compiled=False)


def compiled(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch with torch.compile and a static cache; eager where it has none."""
    return torch_side(setting, folder, compiled=setting["how"] in ("greedy", "sampling"))


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
