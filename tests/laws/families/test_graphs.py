"""What a model may depend on: documents of a packed row, padding, the order of tokens."""

import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import CAUSAL, FULL, Same

CLOSE = dict(rtol=2e-5, atol=2e-5)  # float32, other orders of summation
PACKED = {
    "bert": (CAUSAL | FULL) & Same("document"),
    "gpt2": CAUSAL & Same("document"),
    "llama": CAUSAL & Same("document"),
    "t5": Same("document"),
}
LENGTHS = (5, 8)


def answer(model, **inputs):
    """Logits, or states where there is no head."""
    out = model(**inputs)
    return np.asarray(out["logits"] if "logits" in out else out["last_hidden_state"])


@pytest.mark.parametrize("family", PACKED)
def test_two_documents_in_a_row_are_as_two_rows(family, tiny, ids):
    head = "encoder" if family == "t5" else None
    model = tiny(family, head, PACKED[family])
    places = np.concatenate([np.arange(n) for n in LENGTHS])[None].repeat(2, 0)
    document = np.repeat(np.arange(2), LENGTHS)[None].repeat(2, 0)
    given = {} if family == "t5" else {"position_ids": places}
    packed = answer(model, input_ids=ids, tags={"document": document}, **given)
    plain = tiny(family, head)
    first, second = plain_rows(plain, ids[:, :5]), plain_rows(plain, ids[:, 5:])
    np.testing.assert_allclose(packed[:, :5], first, **CLOSE)
    np.testing.assert_allclose(packed[:, 5:], second, **CLOSE)
    together = answer(plain, input_ids=ids, **given)
    assert np.abs(together[:, 5:] - second).max() > 1e-2  # the control: unmasked, it leaks


def plain_rows(model, ids):
    return answer(model, input_ids=ids)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "transformer"])
def test_what_stands_in_padding_changes_nothing(family, tiny, ids):
    model = tiny(family)
    mask = np.ones(ids.shape, np.int32)
    mask[0, :4] = mask[1, :1] = 0
    garbage = jnp.where(mask > 0, ids, (ids * 7 + 11) % 53)
    options = {"attention_mask": mask}
    if model.is_encoder_decoder:
        options["decoder_input_ids"] = ids[:, :6]
        seen = np.ones((2, 6), bool)
    else:
        seen = mask > 0
    clean, dirty = (answer(model, input_ids=x, **options) for x in (ids, garbage))
    assert np.array_equal(clean[seen], dirty[seen])  # bit for bit
    options["attention_mask"] = np.ones_like(mask)
    clean, dirty = (answer(model, input_ids=x, **options) for x in (ids, garbage))
    assert not np.array_equal(clean[seen], dirty[seen])  # the control: as tokens they count


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_only_positions_tell_the_order(family, tiny, ids):
    model = tiny(family, mask=FULL)
    order = np.random.default_rng(0).permutation(13)
    places = np.arange(13)[None].repeat(2, 0)
    straight = answer(model, input_ids=ids, position_ids=places)
    turned = answer(model, input_ids=ids[:, order], position_ids=places[:, order])
    np.testing.assert_allclose(turned, straight[:, order], **CLOSE)
    unmoved = answer(model, input_ids=ids[:, order], position_ids=places)
    assert np.abs(unmoved - straight[:, order]).max() > 1e-2  # the control
