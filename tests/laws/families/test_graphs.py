"""Models depend on neither padding contents nor, without positions, the order of tokens."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.laws.families.conftest import CONFIGS, quick
from transformers_jax import FULL

CLOSE = dict(rtol=2e-5, atol=2e-5)  # float32, other orders of summation


def answer(model, **inputs):
    """Logits, or states where there is no head."""
    out = model(**inputs)
    return np.asarray(out["logits"] if "logits" in out else out["last_hidden_state"])


FAMILIES = list(CONFIGS)


@pytest.mark.parametrize("family", quick(FAMILIES))
def test_padding_contents_change_nothing(family, tiny, ids):
    model = tiny(family)
    mask = np.ones(ids.shape, np.int32)
    mask[0, :4] = mask[1, :1] = 0
    garbage = jnp.where(mask > 0, ids, (ids * 7 + 11) % 53)
    options = {"attention_mask": mask}
    if model.is_encoder_decoder:
        options["decoder_input_ids"] = ids[:, :6]
        real = np.ones((2, 6), bool)
    else:
        real = mask > 0
    clean, dirty = (answer(model, input_ids=x, **options) for x in (ids, garbage))
    assert np.array_equal(clean[real], dirty[real])  # bit for bit
    options["attention_mask"] = np.ones_like(mask)
    clean, dirty = (answer(model, input_ids=x, **options) for x in (ids, garbage))
    assert not np.array_equal(clean[real], dirty[real])  # the control: as tokens they count


@pytest.mark.parametrize(
    "family",
    [
        "albert",
        "bert",
        "electra",
        "gpt2",
        "llama",
        "longformer",
        "modernbert",
        "nomic_bert",
        "roberta",
        "roformer",
    ],
)
def test_only_positions_carry_the_order(family, tiny, ids):
    model = tiny(family, mask=FULL)
    order = np.random.default_rng(0).permutation(13)
    positions = np.arange(13)[None].repeat(2, 0) + model.embed.spec.offset
    straight = answer(model, input_ids=ids, position_ids=positions)
    shuffled = answer(model, input_ids=ids[:, order], position_ids=positions[:, order])
    np.testing.assert_allclose(shuffled, straight[:, order], **CLOSE)
    unmoved = answer(model, input_ids=ids[:, order], position_ids=positions)
    assert np.abs(unmoved - straight[:, order]).max() > 1e-2  # the control
