"""A backbone with a head that makes one vector of a row: what it is built from, and its files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax import spec
from transformers_jax.embedding.directory import MODULES, Sentence, read
from transformers_jax.hub import files
from transformers_jax.hub.companions import copy_companions
from transformers_jax.hub.files import Checkpoint, Entry
from transformers_jax.hub.table import Table
from transformers_jax.models.base import Model, Plan
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.wiring import Network
from transformers_jax.nn.param import flatten, params
from transformers_jax.nn.sentence import Pool, SentenceEmbedding, SentenceSpec
from transformers_jax.publish import publish


@dataclass(frozen=True)
class EmbeddingPlan(Plan):
    """The plan of a model of sentences.

    Attributes:
        sentence: the modules behind the transformer, and everything else that its directory says.
        pooler: whether the backbone keeps its own pooler, which no vector here depends on: a file
            that has one is written back with it.
    """

    sentence: Sentence = Sentence()
    pooler: bool = True

    @property
    def table(self) -> Table:
        table = self.config.table(self.head)
        return table.with_rows(self.sentence.table())

    def build(self) -> Model:
        """The abstract model.

        Raises:
            ValueError: a family that is not one stack over tokens, or modules of other widths.
        """
        model = self.config.build(self.head, self.execution, self.masks)
        if not isinstance(model, Network) or len(model.towers) > 1 or model.head is not None:
            raise ValueError(
                f"{self.config.model_type} has no head 'embedding': its {self.head!r} is not one "
                f"stack over tokens; it has {', '.join(sorted(set(self.config.HEADS.values())))}"
            )
        ((name, tower),) = model.towers.items()
        sentence = SentenceSpec(tower.stack.spec.width, self.sentence.steps)
        pooler = tower.pooler if self.pooler else None
        head = SentenceEmbedding(sentence, spec.Initial())
        return self.prepared(Network({name: dataclasses.replace(tower, pooler=pooler)}, head))


def backbone(config: FamilyConfig) -> str:
    """The head whose model is the family's encoder, or all there is of it."""
    return "encoder" if "encoder" in config.HEADS.values() else "none"


def sentence_for(
    head: str | None, model_path: Path | None, pooling: str | None, ignore: Iterable[str] = ()
) -> Sentence | None:
    """The sentence embedding of a directory, or where it has none, that of `pooling`; None for
    another head.

    Raises:
        ValueError: a pooling for another head, or with a modules.json; see `directory.read`.
    """
    if head != "embedding":
        if pooling is not None:
            raise ValueError(f"pooling={pooling!r} belongs to head='embedding', not to {head!r}")
        return None
    folder = model_path if model_path is None or model_path.is_dir() else model_path.parent
    if folder is not None and folder == model_path and (folder / MODULES).is_file():
        if pooling is not None:
            raise ValueError(
                f"pooling={pooling!r}, but {folder / MODULES} says how tokens are pooled; "
                "leave it out, or load the transformer's own folder"
            )
        return read(folder, ignore=ignore)
    steps = () if pooling is None else (Pool((pooling,)),)
    return Sentence(steps, source=None if folder is None else str(folder))


def with_sentence(
    plan: Plan, sentence: Sentence, checkpoint: Checkpoint | None = None
) -> EmbeddingPlan:
    """The plan with the modules behind the transformer.

    Without any pooling given, tokens are averaged; of a causal language model the last is taken,
    the only one that attends to all (as in sentence-transformers).
    """
    if not sentence.steps:
        causal = next(iter(plan.config.architectures), "").endswith("ForCausalLM")
        sentence = dataclasses.replace(
            sentence, steps=(Pool(("lasttoken" if causal else "mean",)),)
        )
    values = {field.name: getattr(plan, field.name) for field in dataclasses.fields(Plan)}
    whole = EmbeddingPlan(**values, sentence=sentence)
    pooled = checkpoint is not None and _has_pooler(whole, checkpoint)
    return dataclasses.replace(whole, pooler=pooled)


def abstract(plan: Plan) -> Model:
    """The model without arrays, its parameters stacked as weight tables name them."""
    execution = dataclasses.replace(plan.execution, layers="stacked")
    return dataclasses.replace(plan.uniform, execution=execution).build()


def _has_pooler(plan: EmbeddingPlan, checkpoint: Checkpoint) -> bool:
    shapes = {path: leaf.shape for path, leaf in flatten(params(abstract(plan))).items()}
    report = plan.table.check(checkpoint.shapes, shapes, strict=False)
    absent = itertools.chain.from_iterable(report.absent.values())
    return not any(path.startswith("pooler.") for path in absent)


def write_modules(
    model: Any, entries: Mapping[str, Entry], directory: Path
) -> tuple[dict[str, Entry], Path]:
    """Writes all but the transformer; returns its tensors, and the folder that they belong in.

    Raises:
        ValueError: the tokenizer's files are no longer where the model came from.
    """
    sentence: Sentence = model.plan.sentence
    own = dict(entries)
    for folder in sentence.weighted:
        named = {name: own.pop(name) for name in entries if name.startswith(f"{folder}/")}
        members = {name.removeprefix(f"{folder}/"): entry for name, entry in named.items()}
        files.save(members, directory / folder, metadata=sentence.metadata.get(folder))
    for name, text in sentence.written(model.stack.spec.width).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, text)
    target = directory / sentence.transformer
    target.mkdir(parents=True, exist_ok=True)
    return own, target


def copy_tokenizer(sentence: Sentence, target: Path) -> None:
    """Copies the files of the tokenizer, as they are.

    Raises:
        ValueError: the directory of the loaded model no longer exists, or links elsewhere.
    """
    if sentence.source is None or Path(sentence.source).resolve() == target.resolve():
        return
    source = Path(sentence.source)
    if not source.is_dir():
        raise ValueError(
            f"the model is saved in {target}, but without its tokenizer: {source}, where it was, "
            "no longer exists; copy tokenizer.json and tokenizer_config.json there"
        )
    list(copy_companions(source, target))
