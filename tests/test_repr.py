"""The repr of models, configs, states and runs is short and correct."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.models.base import Plan
from transformers_jax.nn.param import axes
from transformers_jax.runs.fit import Fitted

SIZES = dict(
    vocab_size=64, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
)


def test_the_repr_of_a_model_shows_family_head_sizes_dtypes_masks_and_devices():
    config = tj.BertConfig(**SIZES, is_decoder=True)
    model = tj.from_config(
        config, head="causal_lm", key=jax.random.key(0), dtype="bfloat16", compute_dtype="float32",
        mask=tj.CAUSAL & tj.Same("document"),
    )  # fmt: skip
    text = repr(model)
    assert str(model) == text
    assert text.splitlines() == [
        f"bert (causal_lm), {model.parameter_count:,} parameters",
        "  stack: 3 layers of width 24, 2 heads of 12, hidden 32",
        "  vocabulary: 64",
        "  dtype: bfloat16, computes in float32",
        "  mask: CAUSAL & Same('document') (masks are the caller's)",
        f"  arrays: on {jax.devices()[0]}",
    ]


@pytest.mark.parametrize(
    "config",
    [
        tj.T5Config(),
        tj.SwitchTransformersConfig(),
        tj.RecurrentConfig(),
        tj.LlamaConfig(num_key_value_heads=8),
        tj.AlbertConfig(),
        tj.LongformerConfig(),
        tj.BigBirdConfig(),
        tj.ModernBertConfig(),
        tj.DebertaV2Config(),
    ],
    ids=lambda config: config.model_type,
)
def test_every_kind_of_model_fits_a_screen_without_arrays_and_traced(config):
    head = "seq2seq_lm" if config.is_encoder_decoder else "masked_lm"
    head = "causal_lm" if config.model_type == "llama" else head
    model = Plan(config, head).build()
    lines = repr(model).splitlines()
    assert lines[-1] == "  arrays: none: shapes only"
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    reprs = []
    values = tj.functional(model)[1]
    jax.eval_shape(lambda values: reprs.append(repr(tj.bind(model, values))), values)
    assert reprs[0].splitlines()[:-1] == lines[:-1]
    assert reprs[0].endswith("arrays: traced")


def test_the_repr_of_a_config_shows_non_defaults_and_evaluates_to_it():
    config = tj.BertConfig(**SIZES, id2label={0: "no", 1: "yes"})
    text = repr(config)
    assert text.startswith("BertConfig(")
    assert "num_hidden_layers=3" in text
    assert "layer_norm_eps" not in text
    assert eval(text, vars(tj) | {"BertConfig": tj.BertConfig}) == config
    assert repr(tj.GPT2Config()) == "GPT2Config()"


def test_the_table_of_a_model_sums_to_the_model():
    model = Plan(tj.BertConfig(**SIZES), "masked_lm").build()
    table = tj.summary(model)
    rows = {row.path: row for row in table.rows}
    assert table.parameters == model.parameter_count == sum(row.parameters for row in table.rows)
    query = rows["stack.blocks.0.self.query"]
    assert query.axes == (("layers", 3), ("embed", 24), ("heads", 2), ("kv", 12))
    assert (query.bytes, query.device_bytes, query.dtype) == (3 * 24 * 24 * 4,) * 2 + ("float32",)
    text = str(table)
    assert repr(table) == text
    assert f"{model.parameter_count:,}" in text.splitlines()[-1]
    assert all(path in text for path in rows)
    assert max(map(len, text.splitlines())) <= 120
    with pytest.raises(TypeError, match="summary takes a model"):
        tj.summary({"w": np.zeros(3)})


def test_the_repr_of_a_sharded_model_shows_its_mesh(on_eight_devices):
    program = """
        import jax, transformers_jax as tj
        config = tj.BertConfig(vocab_size=64, hidden_size=24, num_hidden_layers=2,
                               num_attention_heads=2, intermediate_size=32)
        mesh = tj.make_mesh({"data": 4, "tensor": 2})
        model = tj.from_config(config, head="none", key=jax.random.key(0), mesh=mesh)
        print(repr(model).splitlines()[-1])
        table = tj.summary(model)
        row = next(row for row in table.rows if row.path.endswith("self.query"))
        print(row.sharding, row.bytes // row.device_bytes, "a device" in str(table))
    """
    lines = on_eight_devices(program).stdout.splitlines()
    assert lines[0].startswith("  arrays: on a mesh of data 4 x tensor 2, ")
    assert lines[0].endswith("% of the bytes on every device")
    assert lines[1] == "heads by tensor 2 True"


def test_a_run_and_a_state_fit_a_line(tmp_path):
    config = tj.GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=16)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    optimizer = tj.AdamW().build(axes(model), 10000)
    state = tj.init_state(model, optimizer, jax.random.key(1))
    count = f"{model.parameter_count:,} parameters"
    assert repr(state) == f"TrainState(step=0, {count}, skipped=0)"
    suffix = f"after step 0; gpt2 (causal_lm), {count}; {tmp_path})"
    assert repr(Fitted(0, model, state, tmp_path)) == f"Fitted(finished {suffix}"
    assert repr(Fitted(143, model, state, tmp_path)) == f"Fitted(stopped, exit code 143 {suffix}"
    (tmp_path / "metrics.jsonl").write_text('{"step": 3, "loss": 2.5}\n')
    assert "after step 0, loss 2.5; " in repr(Fitted(0, model, state, tmp_path))
