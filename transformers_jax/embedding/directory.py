"""The settings in a directory of sentence-transformers: modules, prompts, limits, similarity.

`modules.json` names the modules in order, each with a folder of its own; the transformer's is the
directory itself (in older ones a folder, too). The record has the texts of all these files, so that
a directory is written back byte for byte, in whatever layout it came.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers_jax.embedding.modules import FLAGS, KEYS, check_keys, step_of
from transformers_jax.hub.files import Checkpoint, open_checkpoint
from transformers_jax.hub.table import Row, rows
from transformers_jax.json_files import errors_of, json_text, parse_json, read_json
from transformers_jax.models.frozen import Frozen
from transformers_jax.models.shared.weight_rows import layer, norm
from transformers_jax.nn.sentence import Normalise, Pool, Project, Standardise, Step

MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"
TRANSFORMER = tuple(
    f"sentence_{name}_config.json"  # each had its own before "bert" was used for all of them
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
ROWS = {  # of the weights of a step; rows of parameters that it does not have are skipped
    Project: layer("{0}/linear", "{1}.linear")
    + "\n{0}/residual.weight | {1}.residual.weight | e d -> d e",
    Standardise: norm("{0}/norm", "{1}.norm"),
}
CLASSIFIER = "classifier"
"""The folder of a last module that makes scores of classes."""
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")

# The keys of sentence_bert_config.json: those that are read, and those of one value only.
LIMITS = {"max_seq_length": int, "do_lower_case": bool, "unpad_inputs": bool}
NOT_IMPLEMENTED = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    **dict.fromkeys(("processing_kwargs", "query_expansion", "model_args", "model_kwargs")),
    **dict.fromkeys(("tokenizer_args", "processor_kwargs", "config_args", "config_kwargs")),
    **dict.fromkeys(("query_length", "document_length", "tokenizer_name_or_path")),
}
DEFAULTS = {  # the keys of config_sentence_transformers.json
    "prompts": dict,
    "default_prompt_name": str,
    "similarity_fn_name": str,
    "truncate_dim": int,
    "__version__": dict,
    "requirements": (list, dict),
}


@dataclass(frozen=True)
class Sentence:
    """How sentences become vectors, around a transformer.

    Attributes:
        steps, folders: the modules behind the transformer, and where each has its files.
        transformer: the folder of the transformer; "" is the directory itself.
        prompts, default_prompt: texts that are put in front of sentences, by name.
        similarity: how vectors are compared, of `SIMILARITIES`.
        truncate: the length to which a vector is cut; None: whole.
        longest: the most tokens of a sentence; None where the model and its tokenizer say.
        lower: whether texts are made lower case first.
        texts: the JSON files, by their path in the directory.
        metadata: the metadata in the safetensors of a folder.
        source: where tokenizer files are; None for a new model.
    """

    steps: tuple[Step, ...] = (Pool(),)
    folders: tuple[str, ...] = ("1_Pooling",)
    transformer: str = ""
    prompts: Frozen = field(default_factory=Frozen)
    default_prompt: str | None = None
    similarity: str = "cosine"
    truncate: int | None = None
    longest: int | None = None
    lower: bool = False
    texts: Frozen = field(default_factory=Frozen)
    metadata: Frozen = field(default_factory=Frozen)
    source: str | None = None

    def table(self) -> tuple[Row, ...]:
        """The rows of the modules' weights; names begin with the folder."""
        return tuple(
            row
            for number, (step, folder) in enumerate(zip(self.steps, self.folders))
            for row in rows(
                ROWS.get(type(step), "").format(folder, f"head.steps.{number}"), group=folder
            )
        )

    @property
    def weighted(self) -> tuple[str, ...]:
        """The folders with weights."""
        return tuple(dict.fromkeys(row.group for row in self.table()))

    def open(self, model_path: Path) -> tuple[Checkpoint, Sentence]:
        """The tensors of the transformer and of all modules, and the record with their metadata.

        Raises:
            ValueError: a module without safetensors; weights are never unpickled.
        """
        whole = open_checkpoint(
            model_path / self.transformer if model_path.is_dir() else model_path
        )
        tensors, metadata = dict(whole.tensors), {}
        for folder in self.weighted:
            one = open_checkpoint(model_path / folder)
            metadata[folder] = one.metadata
            tensors |= {f"{folder}/{name}": tensor for name, tensor in one.tensors.items()}
        checkpoint = Checkpoint(whole.path, tensors, whole.metadata)
        return checkpoint, replace(self, metadata=Frozen(metadata))

    def written(self, width: int) -> Mapping[str, str]:
        """The JSON files: as they were read, or, for a transformer of this width that had none,
        spelled so that every release of sentence-transformers reads them."""
        if self.texts:
            return self.texts
        pool, *normalised = self.steps
        assert isinstance(pool, Pool), pool
        assert all(isinstance(step, Normalise) for step in normalised), normalised
        flags = {name: mode in pool.modes for name, mode in FLAGS.items()}
        kinds = ["Transformer", "Pooling", *("Normalize" for _ in normalised)]
        modules = [_entry(n, *one) for n, one in enumerate(zip(kinds, ("", *self.folders)))]
        settings = dict(prompts=dict(self.prompts), default_prompt_name=self.default_prompt)
        contents: dict[str, Any] = {
            MODULES: modules,
            SETTINGS: {**settings, "similarity_fn_name": self.similarity},
            f"{self.folders[0]}/config.json": {"word_embedding_dimension": width, **flags},
        }
        return {name: json_text(content, indent=2) for name, content in contents.items()}

    def changed(
        self,
        *,
        normalised: bool = False,
        prompts: Mapping[str, str] = MappingProxyType({}),
        similarity: str | None = None,
    ) -> Sentence:
        """The record with vectors of length one, with further prompts, and with another similarity;
        of its files, those change that say it."""
        new, texts = self, dict(self.texts)
        if normalised and not isinstance(self.steps[-1], Normalise):
            folder = f"{len(self.steps) + 1}_Normalize"
            new = replace(new, steps=(*new.steps, Normalise()), folders=(*new.folders, folder))
            if texts:
                modules = parse_json(texts[MODULES], MODULES)
                modules.append(_entry(len(modules), "Normalize", folder))
                texts[MODULES] = json_text(modules, indent=2)
        similarity = similarity or self.similarity
        new = replace(new, prompts=Frozen({**self.prompts, **prompts}), similarity=similarity)
        if texts and (new.prompts, new.similarity) != (self.prompts, self.similarity):
            settings = parse_json(texts.get(SETTINGS, "{}"), SETTINGS)
            settings |= dict(prompts=dict(new.prompts), similarity_fn_name=similarity)
            texts[SETTINGS] = json_text(settings, indent=2)
        return replace(new, texts=Frozen(texts))


def _entry(number: int, kind: str, folder: str) -> dict[str, Any]:
    """A module as modules.json has it."""
    kind = f"sentence_transformers.models.{kind}"
    return {"idx": number, "name": str(number), "path": folder, "type": kind}


def with_classifier(sentence: Sentence, width: int, shape: tuple[int, ...]) -> Sentence:
    """The record with a linear layer of these inputs and outputs behind its modules, which makes
    the vector of a text scores of classes; around a transformer of this width."""
    texts, (inputs, outputs) = dict(sentence.written(width)), shape
    modules = parse_json(texts[MODULES], MODULES)
    modules.append(_entry(len(modules), "Dense", CLASSIFIER))
    texts[MODULES] = json_text(modules, indent=2)
    config: dict[str, Any] = dict(in_features=inputs, out_features=outputs, bias=True)
    config["activation_function"] = "torch.nn.modules.linear.Identity"
    texts[f"{CLASSIFIER}/config.json"] = json_text(config, indent=2)
    new = of_texts(texts)
    return replace(new, source=sentence.source, metadata=sentence.metadata)


def read(directory: Path, *, ignore: Iterable[str] = ()) -> Sentence:
    """The record of a directory with a modules.json.

    Raises:
        ValueError: a module, a pooling mode or a setting that is not known; the known are listed.
    """
    sentence = of_texts(texts_in(directory), directory, ignore)
    return replace(sentence, source=str(directory / sentence.transformer))


def texts_in(directory: Path) -> dict[str, str]:
    """The JSON files of a directory with a modules.json, by their path in it.

    Raises:
        ValueError: one that is no JSON, or a module that is not known.
    """
    modules = (directory / MODULES).read_bytes()
    listed = _modules(modules, directory / MODULES)
    names = [f"{folder}/config.json" for _, folder in listed[1:]]
    limits = _limit_files(listed[0][1] if listed else "")
    names += [name for name in limits if (directory / name).is_file()][:1]
    texts = {MODULES: modules.decode()}
    for name in (*names, SETTINGS):
        if (path := directory / name).is_file():
            read_json(path)
            texts[name] = path.read_text(encoding="utf-8")
    return texts


def _limit_files(transformer: str) -> list[str]:
    """The names that sentence_bert_config.json may have."""
    return [f"{transformer}/{name}" if transformer else name for name in TRANSFORMER]


def of_texts(
    texts: Mapping[str, str], directory: Path = Path(), ignore: Iterable[str] = ()
) -> Sentence:
    """The record of the JSON files of a directory, without where the tokenizer is.

    Raises:
        ValueError: as of `read`.
    """
    accepted = frozenset(ignore)

    def parsed(name: str, parse: Callable[..., Any], optional: bool = True) -> Any:
        """What a function makes of the JSON in a file, {} where there is none."""
        path = directory / name
        if name not in texts and not optional:
            raise ValueError(f"{path} does not exist")
        values = parse_json(texts.get(name, "{}"), path)
        with errors_of(path):
            return parse(values, accepted)

    listed = _modules(texts[MODULES], directory / MODULES)
    (first, transformer), *modules = listed or [("nothing", "")]
    if first != "Transformer":
        raise ValueError(f"{directory / MODULES}: the first module is {first}, not a Transformer")
    if not modules:
        raise ValueError(f"{directory / MODULES}: no module pools tokens; add a Pooling")
    steps = tuple(
        parsed(f"{folder}/config.json", functools.partial(step_of, kind), kind == "Normalize")
        for kind, folder in modules
    )
    names = _limit_files(transformer)
    limits = next((name for name in names if name in texts), names[0])
    settings = parsed(limits, _limits) | parsed(SETTINGS, _settings)
    return Sentence(
        steps=steps,
        folders=tuple(folder for _, folder in modules),
        transformer=transformer,
        texts=Frozen(texts),
        **settings,
    )


def _modules(text: str | bytes, path: Path) -> list[tuple[str, str]]:
    """(kind, folder) of every module of modules.json."""
    values = parse_json(text, path)
    try:
        entries = [(str(one["type"]), str(one["path"])) for one in values]
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} is no list of modules with 'type' and 'path': {error}") from None
    modules = []
    for kind, folder in entries:
        library, *_, name = kind.split(".")
        if library != "sentence_transformers" or name not in ("Transformer", *KEYS):
            raise ValueError(
                f"{path}: module {kind!r} is not supported; supported are Transformer, "
                f"{', '.join(KEYS)} of sentence_transformers (no code of a checkpoint is run)"
            )
        if not re.fullmatch(r"\w[\w.-]*" + ("|" if name == "Transformer" else ""), folder):
            raise ValueError(f"{path}: {folder!r} is not the plain name of a folder")
        modules.append((name, folder))
    return modules


def _limits(values: dict[str, Any], ignore: frozenset[str]) -> dict[str, Any]:
    """`longest` and `lower`, from sentence_bert_config.json or one of its older names."""
    check_keys(values, LIMITS, ignore, NOT_IMPLEMENTED)
    return {"longest": values.get("max_seq_length"), "lower": bool(values.get("do_lower_case"))}


def _settings(values: dict[str, Any], ignore: frozenset[str]) -> dict[str, Any]:
    """Prompts, similarity and truncation, from config_sentence_transformers.json."""
    check_keys(values, DEFAULTS, ignore, {"model_type": "SentenceTransformer"})
    similarity = values.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity_fn_name={similarity!r}; known are {', '.join(SIMILARITIES)}")
    prompts = {name: text or "" for name, text in (values.get("prompts") or {}).items()}
    default = values.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ValueError(
            f"default_prompt_name={default!r} is none of the prompts "
            f"({', '.join(prompts) or 'there are none'})"
        )
    return {
        "prompts": Frozen(prompts),
        "default_prompt": default,
        "similarity": similarity,
        "truncate": values.get("truncate_dim"),
    }
