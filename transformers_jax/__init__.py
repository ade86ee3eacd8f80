"""One attention module, parameterised by its mask: encoders, decoders and encoder-decoders in JAX.

    import transformers_jax as tj
    model = tj.from_pretrained("path or hub id")
    out = model(input_ids=ids, attention_mask=mask)

The names are listed in `__init__.pyi`, which type checkers and editors read as well. Each is
imported when it is first used: importing the package starts no backend and touches no network.
"""

import lazy_loader as _lazy_loader

from transformers_jax import face as _face

__version__ = "0.1.0"

_public, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
_face.provide(_public)

_OTHERWISE = {  # what Hugging Face's package has, and how it is said here
    "AutoTokenizer": "tj.load_tokenizer(path) reads a tokenizer",
    **dict.fromkeys(
        ("AutoProcessor", "AutoImageProcessor", "AutoFeatureExtractor"),
        "tj.load_processor(path) reads what makes pictures and sound the arguments of a model",
    ),
    "LogitsProcessorList": "pass a list to generate(logits_processor=[...])",
    "LogitsProcessor": "a function (text, scores) -> scores is one",
    "StoppingCriteriaList": "pass a list to generate(stopping_criteria=[...])",
    "StoppingCriteria": "a function (text) -> which rows have ended is one",
    "Trainer": "tj.make_step makes the step of a loop of yours, and tj.fit runs pretraining",
    "TrainingArguments": "tj.TrainConfig has the settings of tj.fit",
    "pipeline": "load a model with tj.from_pretrained and a tokenizer with tj.load_tokenizer",
}


def _hint(name: str) -> str:
    from transformers_jax.spelling import nearest

    if name in _OTHERWISE:
        return f"; {_OTHERWISE[name]}"
    if name.endswith(("Tokenizer", "TokenizerFast")):
        return f"; {_OTHERWISE['AutoTokenizer']}"
    if not name.startswith("Auto") and ("For" in name or name.endswith("Model")):
        return f"; a class is the name of a head: tj.from_pretrained(path, head={name!r})"
    return nearest(name, __all__)


def __getattr__(name: str) -> object:
    if name not in __all__:
        hint = "" if name.startswith("_") else _hint(name)
        raise AttributeError(f"module 'transformers_jax' has no attribute {name!r}{hint}")
    return _public(name)
