"""Model: the base of all models; how a call is checked and then run as one program.

With concrete arrays a call runs one cached `jax.jit` (an eager BERT-base call takes 326 ms,
compiled 91); with tracers it is inlined into the caller's program. Inputs are checked either way.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax.arrays import Array, Float, Int, Params, is_traced, ordinary, to_dtype
from transformers_jax.explicit_axes import refuse_explicit, refuse_explicit_values
from transformers_jax.face import public
from transformers_jax.inputs.arguments import (
    FLAGS,
    OTHERWISE,
    at_hand,
    concrete,
    flag,
    narrow,
    traceable,
)
from transformers_jax.models.brief import brief, class_and_head
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import masks_of
from transformers_jax.models.output import Output
from transformers_jax.models.plan import Plan as Plan
from transformers_jax.models.plan import rebuilt as rebuilt
from transformers_jax.models.reading import Columns, Reading
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.layers import restack, unstack
from transformers_jax.nn.param import bind, merge, params, split
from transformers_jax.nn.stages import Stack, parts, stacks_of
from transformers_jax.spec import Execution
from transformers_jax.spelling import nearest

T = TypeVar("T")

AppliedTo = Literal["source", "target", "row"]
"""The tokens of the source, those of the target (or of the only side), or a row as a whole."""


def by_name(method: Callable[..., T]) -> Callable[..., T]:
    """The method itself. Each class chooses its arguments, which `Model.arguments` lists, so a type
    checker does not compare them with those of the class above."""
    return method


class Model(nnx.Module):
    """A model of any family. Subclasses define `forward` with Hugging Face's argument names."""

    plan: Plan
    init_cache: Callable[..., Any]  # of those that decode: `init_cache` below
    is_encoder_decoder = False
    has_separate_towers = False  # which have lengths of their own
    positions: int | None = None  # tokens that have a learned position; None without a table
    routing: Any = None  # what routers add to the loss (`nn.router_losses.RouterLosses`)

    @by_name
    def forward(self, **inputs: Any) -> Output:
        """The computation, on arrays or tracers that have been checked."""
        raise NotImplementedError

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        """Raises ValueError for inputs that this model cannot take, as far as they can be read: of
        tracers and of `jax.ShapeDtypeStruct`, shapes and dtypes are."""

    # ------------------------------------------------------------ calling

    def __call__(self, *positional: Any, **inputs: Any) -> Output:
        """Runs the model. Hugging Face's argument names (and order), shapes and field names.

        Beside them: `key` (dropout if and only if there is one), `tags` ({name: Int[B T]} for masks
        that compare them, and "position", the index in its document that positional encodings
        read), `pairs` ({name: Bool or Float[b T S]}), `cache`. Where there are two stacks, `tags`
        are of `input_ids` and `decoder_tags` of `decoder_input_ids`.

        Raises:
            TypeError: an argument that this model does not have.
            ValueError: ids outside the vocabulary, sequences too long, wrong shapes or dtypes.
        """
        named = dict(zip(self.arguments(), positional))
        if len(named) < len(positional) or named.keys() & inputs.keys():
            raise TypeError(
                f"{len(positional)} positional arguments do not fit beside {sorted(inputs)}; "
                f"the order is {', '.join(self.arguments())}"
            )
        return self.call("forward", **named, **inputs)

    def call(self, method: str, **inputs: Any) -> Output:
        """A method of the model, checked and compiled like a call of the model itself."""
        self.known(inputs, method)
        flags = tuple((name, flag(name, inputs.pop(name))) for name in FLAGS if name in inputs)
        inputs = {name: value for name, value in inputs.items() if value is not None}
        with ordinary():
            return self._answer(method, flags, inputs)

    def _answer(self, method: str, flags: tuple, inputs: dict[str, Any]) -> Output:
        definition, values = split(self)
        refuse_explicit(inputs)
        traced = is_traced(inputs, values)
        inputs = {
            name: (traceable if traced else concrete)(name, value) for name, value in inputs.items()
        }
        self.check({**inputs, **dict(flags)}, method)
        inputs = {name: narrow(value) for name, value in inputs.items()}
        if traced:
            refuse_explicit_values(values, inputs)
            return getattr(self, method)(**inputs, **dict(flags))
        return _run(definition, method, flags, values, inputs)

    def check_batch(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        """Raises for what a call with these arguments would refuse, without calling.

        Values are read where that waits for nothing: of NumPy arrays and lists, not of arrays on an
        accelerator, of which names, shapes and dtypes are checked.

        Raises:
            TypeError: an argument that this model does not have.
            ValueError: ids outside the vocabulary, sequences too long, wrong shapes or dtypes.
        """
        self.known(inputs, method)
        arguments = {
            name: value if name in FLAGS else concrete(name, value)
            for name, value in inputs.items()
            if value is not None
        }
        self.check(at_hand(arguments), method)

    def known(self, inputs: Iterable[str], method: str = "forward") -> None:
        """Raises TypeError for the name of an argument that the method does not take."""
        names = self.arguments(method)
        for name in inputs:
            if name not in names:
                hint = nearest(name, names, otherwise=OTHERWISE)
                raise TypeError(
                    f"{class_and_head(self)} has no argument {name!r}"
                    f"{hint}; it takes {', '.join(names)}"
                )

    def arguments(self, method: str = "forward") -> tuple[str, ...]:
        """The keyword arguments that a method takes."""
        parameters = inspect.signature(getattr(type(self), method)).parameters.values()
        return tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name != "self")

    # ------------------------------------------------------------ properties

    @property
    def config(self) -> FamilyConfig:
        """What config.json says."""
        return self.plan.config

    @property
    def generation_config(self) -> dict[str, Any]:
        """What generation_config.json says."""
        return dict(self.plan.generation)

    @property
    def execution(self) -> Execution:
        """How the model is run."""
        return self.plan.execution

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations."""
        compute = self.execution.compute
        if compute == "mixed":
            return jnp.dtype("float32")
        return to_dtype(compute or jax.tree.leaves(params(self))[0].dtype)

    def __repr__(self) -> str:
        return brief(self) if "plan" in vars(self) else super().__repr__()

    __str__ = __repr__

    @property
    def _nnx_tabulate_id(self) -> int:
        raise AttributeError("_nnx_tabulate_id")

    @_nnx_tabulate_id.setter
    def _nnx_tabulate_id(self, value: int) -> None:
        # It replaces every public method of the class by a traced one, and leaves them so when one
        # of them gives back a string.
        raise TypeError(
            "nnx.tabulate runs every method of a module, and not all of a model's can be traced; "
            "tj.summary(model) is the table"
        )

    # ------------------------------------------------------------ layouts

    def with_layers(self, layers: str) -> Self:
        """The same model with its layers' parameters "stacked", or as a "list" of trees."""
        if layers == self.execution.layers:
            return self
        values, convert = params(self), unstack if layers == "list" else restack
        for name, stack in stacks_of(vars(self)).items():
            if stack.spec.blocks:  # or it has no parameters
                values[name] = convert(values[name], stack.spec)
        return bind(self.abstract(layers=layers), values)

    def abstract(self, **execution: Any) -> Self:
        """The model without arrays, run in another way."""
        execution = dataclasses.replace(self.execution, **execution)
        model: Any = dataclasses.replace(self.plan, execution=execution).build()
        return model

    def with_mask(self, mask: Any) -> Self:
        """The same parameters under another mask: `mask` as in `from_pretrained`, where a list has
        one mask per layer, and OWN stands for the model's own. None: its own.

        Raises:
            ValueError: what is no mask, or masks for another number of layers.
        """
        plan = dataclasses.replace(self.plan, mask=masks_of(mask))
        return rebuilt(self, plan)

    def decoding(self) -> Self:
        """The model as decoding loops run it: with a tree of parameters per layer."""
        return self.with_layers("list")

    def stacks(self) -> dict[str, Stack]:
        """The stacks of the model by their paths; those of stages one by one."""
        return parts(stacks_of(vars(self)))

    def applied_to(self) -> dict[str, AppliedTo]:
        """What each part of the model (by attribute name) is applied to."""
        return {n: "target" for n, part in vars(self).items() if isinstance(part, nnx.Module)}

    @property
    def output_words(self) -> Any:
        """The parameter of the word embeddings [V D] that a tied output shares; None without."""
        return None

    # ------------------------------------------------------------ the protocol of generation

    @property
    def reading(self) -> Reading:
        """How the tokens are read that the model continues."""
        return Reading()

    def begin(self, batch: int, length: int, source: Mapping[str, Any], **options: Any) -> Any:
        """An empty cache for `length` tokens of `batch` rows; `source` are the arguments of an
        encoder, or its output (`encoder_outputs`); `options` are those of `init_cache`."""
        raise NotImplementedError(f"{type(self).__name__} continues no text")

    def advance(
        self, ids: Int[Array, "B T"], columns: Columns, cache: Any, **arguments: Any
    ) -> tuple[Float[Array, "B T V"], Any]:
        """(the logits of the token after each of these, the cache with them)."""
        raise NotImplementedError(f"{type(self).__name__} continues no text")

    # ------------------------------------------------------------ the public functions, as methods

    @overload
    def generate(
        self, *ids: Any, return_dict_in_generate: Literal[True], **options: Any
    ) -> Output: ...
    @overload
    def generate(
        self, *ids: Any, return_dict_in_generate: Literal[False] = False, **options: Any
    ) -> Int[Array, "B T"]: ...
    def generate(self, *ids: Any, **options: Any) -> Any:
        """`transformers_jax.generate(model, ...)`."""
        return public("generate")(self, *ids, **options)

    @by_name
    def encode(self, texts: Any, **options: Any) -> Any:
        """`transformers_jax.encode(model, texts, ...)`: the vectors of texts."""
        return public("encode")(self, texts, **options)

    def save_pretrained(self, directory: Any, **options: Any) -> None:
        """`transformers_jax.save_pretrained(model, directory)`."""
        return public("save_pretrained")(self, directory, **options)

    def exports(self) -> dict[str, Model]:
        """The models that a run writes, by the folder within its `model/` ("" is that folder
        itself): this one, unless it was trained as several."""
        return {"": self}

    def eval(self, **attributes: Any) -> Self:  # PyTorch's idiom, which nnx would answer with None
        """The model itself: a call without `key` has no noise."""
        return self

    def train(self, *mode: Any, **attributes: Any) -> Self:
        """Refused: a call has dropout where it has a key.

        Raises:
            TypeError: always.
        """
        raise TypeError("there is no training mode: a call with key=jax.random.key(n) has dropout")

    @property
    def parameter_count(self) -> int:
        """How many numbers the model has learned, or will."""
        return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params(self)))


def check_model(model: Any, name: str) -> None:
    """Raises TypeError for what is no model, such as its parameters."""
    if not isinstance(model, nnx.Module):
        bound = "; tj.bind(model, parameters) is the model with other parameters"
        raise TypeError(
            f"{name} takes a model, as tj.from_pretrained gives it; {type(model).__name__} came"
            f"{bound if isinstance(model, Mapping) else ''}"
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _run(
    definition: Any, method: str, flags: tuple, values: Params, inputs: dict[str, Any]
) -> Output:
    refuse_explicit_values(values, inputs)
    return getattr(merge(definition, values), method)(**inputs, **dict(flags))


def functional(model: Model) -> tuple[Callable[..., Output], Params]:
    """(apply, params): a pure function and its parameters as a plain nested dict.

    `apply(params, input_ids=..., ...)` is `model(input_ids=..., ...)` with those parameters; it can
    be differentiated, compiled, mapped and sharded like any function of arrays.
    """
    check_model(model, "functional")
    definition, values = split(model)

    def apply(params: Params, **inputs: Any) -> Output:
        return merge(definition, params)(**inputs)

    return apply, values


def init_cache(model: Model, batch: int, length: int, **options: Any) -> Cache:
    """An empty cache of `length` tokens for `batch` rows: pass it as `cache=`, take `out.cache`.

    An encoder-decoder needs `encoder_outputs=model.encode(...)` and, of a padded source, its
    `attention_mask`. `dtype`, `per_row` and `spare` are fields of `nn.cache.CacheSpec`.
    """
    check_model(model, "init_cache")
    for name, size in (("batch", batch), ("length", length)):
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"init_cache: {name}={size!r}: expected a whole number, at least 1")
    return model.init_cache(batch, length, **options)
