"""What a model returns: Hugging Face's field names by attribute, by key and in `.items()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax

from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.nn.unembedding import Unembedding
from transformers_jax.spelling import nearest

OPTIONS = {  # which arguments of a call give fields
    "loss": "give labels= (where an answer is marked, start_positions= and end_positions=)",
    "mc_loss": "give mc_labels=",
    "hidden_states": "give output_hidden_states=True",
    "attentions": "give output_attentions=True",
    "router_logits": "give output_router_logits=True",
    "aux_loss": "give output_router_logits=True",
    "past_key_values": "give cache=, which comes back as .cache",
}


@jax.tree_util.register_pytree_with_keys_class
class Output(Mapping[str, Any]):
    """An immutable record, and a pytree. Fields that a call does not request are absent.

    Beside its fields, which are those of Hugging Face, a record with a loss has `loss_terms`:
    {name: (sum, count)}, of which the loss is the sum of sum / count. Otherwise they are None.

    >>> out = model(input_ids=ids)
    >>> out.logits, out["logits"], dict(out)
    >>> out[0], out[:2], out.to_tuple()  # the fields that are there, in their order
    """

    loss: Float[Array, ""]
    logits: Float[Array, "B ..."]
    last_hidden_state: Float[Array, "B T D"]
    pooler_output: Float[Array, "B D"]
    hidden_states: tuple[Float[Array, "B T D"], ...]
    attentions: tuple[Float[Array, "B H T S"], ...]
    reshaped_hidden_states: tuple[Float[Array, "B D h w"], ...]
    router_logits: tuple[Float[Array, "N E"], ...]
    aux_loss: Float[Array, ""]
    cache: Any
    unembedding: Unembedding

    # of particular heads
    start_logits: Float[Array, "B T"]
    end_logits: Float[Array, "B T"]
    prediction_logits: Float[Array, "B T V"]
    seq_relationship_logits: Float[Array, "B 2"]
    sop_logits: Float[Array, "B 2"]
    sentence_embedding: Float[Array, "B D"]
    token_embeddings: Float[Array, "B T D"]

    mc_loss: Float[Array, ""]
    mc_logits: Float[Array, "B C"]

    # of images with texts
    itm_score: Float[Array, "B ..."]
    question_embeds: Float[Array, "B T D"]
    # of waveforms
    extract_features: Float[Array, "B T C"]
    projected_states: Float[Array, "B T E"]
    projected_quantized_states: Float[Array, "B T E"]
    codevector_perplexity: Float[Array, ""]
    contrastive_loss: Float[Array, ""]
    diversity_loss: Float[Array, ""]
    embeddings: Float[Array, "B E"]

    # of trajectories
    state_preds: Float[Array, "B T N"]
    action_preds: Float[Array, "B T A"]
    return_preds: Float[Array, "B T 1"]

    # of images
    reconstruction: Float[Array, "B C H W"]
    feature_maps: tuple[Float[Array, "B D h w"], ...]
    mask: Float[Array, "B P"]
    ids_restore: Int[Array, "B P"]
    cls_logits: Float[Array, "B N"]
    distillation_logits: Float[Array, "B N"]

    # of proteins
    contacts: Float[Array, "B L L"]

    # of encoder-decoders
    encoder_last_hidden_state: Float[Array, "B S E"]
    encoder_hidden_states: tuple[Float[Array, "B S E"], ...]
    encoder_attentions: tuple[Float[Array, "B H S S"], ...]
    encoder_router_logits: tuple[Float[Array, "B S E"], ...]
    encoder_z_loss: Float[Array, ""]
    encoder_aux_loss: Float[Array, ""]
    decoder_hidden_states: tuple[Float[Array, "B T D"], ...]
    decoder_attentions: tuple[Float[Array, "B H T T"], ...]
    decoder_router_logits: tuple[Float[Array, "B T E"], ...]
    decoder_z_loss: Float[Array, ""]
    decoder_aux_loss: Float[Array, ""]
    cross_attentions: tuple[Float[Array, "B H T S"], ...]

    # of ELECTRA's generator and discriminator
    generator_loss: Float[Array, ""]
    discriminator_loss: Float[Array, ""]
    masked_count: Float[Array, ""]
    token_count: Float[Array, ""]
    replaced_logits: Float[Array, "B T"]
    corrupted_ids: Int[Array, "B T"]
    replaced: Bool[Array, "B T"]

    # of the recurrent translator and of PyTorch's modules
    encoder_states: Float[Array, "B S E"]
    onward_state: Float[Array, "B H"]
    backward_state: Float[Array, "B H"]
    attention: Float[Array, "B T S"]
    memory: Float[Array, "B S D"]
    output: Float[Array, "B T D"]
    weights: Float[Array, "B ..."]

    # of `generate` and of `score`
    sequences: Int[Array, "B T"]
    sequences_scores: Float[Array, " B"]
    new_tokens: Int[Array, " B"]
    scores: tuple[Float[Array, "B V"], ...]
    token_log_probs: Float[Array, "B T"]
    complete: Bool[Array, " B"]
    log_prob: Float[Array, " B"]
    count: Int[Array, " B"]
    perplexity: Float[Array, " B"]

    loss_terms: dict[str, tuple[Any, Any]] | None

    def __init__(self, *, loss_terms: dict[str, tuple[Any, Any]] | None = None, **fields: Any):
        object.__setattr__(self, "loss_terms", loss_terms)
        object.__setattr__(self, "_fields", {k: v for k, v in fields.items() if v is not None})

    if TYPE_CHECKING:
        _fields: dict[str, Any]
    else:  # to a type checker, the fields above are all that there may be

        def __getattr__(self, name: str) -> Any:
            try:
                return self.__dict__["_fields"][name]
            except KeyError:
                raise AttributeError(self._lacks(name)) from None

    def _lacks(self, name: Any) -> str:
        fields = self.__dict__.get("_fields", ())
        hint = ""
        if isinstance(name, str):  # encoder_hidden_states have the option of hidden_states
            kind = next((field for field in OPTIONS if name.endswith(field)), None)
            hint = nearest(name, fields) if kind is None else f"; {OPTIONS[kind]}"
        return f"this output has no {name!r}{hint}; it has {', '.join(fields)}"

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an Output cannot be changed; make another one")

    def __getitem__(self, name: str | int | slice) -> Any:
        if isinstance(name, (int, slice)):
            return self.to_tuple()[name]
        if name not in self._fields:
            raise KeyError(self._lacks(name))
        return self._fields[name]

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are there, in their order."""
        return tuple(self._fields.values())

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        def show(value: Any) -> str:
            if isinstance(value, (tuple, list)):
                return f"({', '.join(map(show, value))})"
            shape = getattr(value, "shape", None)
            return type(value).__name__ if shape is None else f"{value.dtype}{list(shape)}"

        return f"Output({', '.join(f'{k}={show(v)}' for k, v in self._fields.items())})"

    def tree_flatten_with_keys(self):
        keys = tuple(self._fields)
        leaves = [(jax.tree_util.GetAttrKey(k), self._fields[k]) for k in keys]
        return [*leaves, (jax.tree_util.GetAttrKey("loss_terms"), self.loss_terms)], keys

    @classmethod
    def tree_unflatten(cls, keys, values):
        output = cls.__new__(cls)
        *fields, terms = values
        object.__setattr__(output, "loss_terms", terms)
        object.__setattr__(output, "_fields", dict(zip(keys, fields)))
        return output
