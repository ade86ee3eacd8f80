"""The commands about pictures: classify, embed, zero-shot, caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tyro.conf import DisallowNone, UseAppendAction

from transformers_jax.cli.answers import Inputs, Line, OfPictures, Prepared
from transformers_jax.cli.files import Files, trained


@dataclass(frozen=True, kw_only=True)
class Classify(OfPictures):
    """Classify pictures: the likeliest labels of each, with their probabilities.

    With --out a JSON object for each file. What was interrupted goes on where it was, with the same
    command.
    """

    DOES = "classifying"

    top_k: int = 5
    """labels of each picture, at most"""

    def prepared(self):
        import transformers_jax as tj
        from transformers_jax.sizes import check_count

        check_count("--top-k", self.top_k)
        config: Any = tj.AutoConfig.from_pretrained(self.folder)
        self.check_head(config, "image_classification", "classifies no pictures")
        compares = "; or zero-shot --labels cat,dog compares them with names of classes"
        more = compares * ("contrastive" in config.HEADS.values())
        learn = "it was not trained to classify: finetune --task image_classification does that"
        with trained(self.model, f"{learn}{more}"):
            auto = tj.AutoModelForImageClassification
            model: Any = auto.from_pretrained(self.folder, dtype=self.dtype)
        processor = self.processor()
        read = lambda files: processor(images=files)

        def answer(inputs: Inputs) -> list[Line]:
            every = tj.classify(
                model, inputs, processor=processor, top_k=self.top_k, batch_size=self.batch
            )
            return [{**labels[0], "labels": labels} for labels in every]

        return Prepared(read, answer)

    def shown(self, line):
        return ", ".join(f"{one['label']} {one['score']:.4f}" for one in line["labels"])


@dataclass(frozen=True, kw_only=True)
class Embed(OfPictures):
    """Write a vector for each picture, and for each text, by a model that compares both.

    A JSON object for each: {"file": ..., "vector": [...]}. What was interrupted goes on where it
    was, with the same command.
    """

    DOES = "embedding"

    files: Files = ()
    text: UseAppendAction[tuple[str, ...]] = ()
    """a text; may be given several times"""
    pooling: DisallowNone[str | None] = None
    """cls, mean, ... in place of the model's own pooler"""
    normalize: bool = False
    """vectors of length one"""

    def named(self):
        if self.out is None:
            raise ValueError("vectors are written to a file: give --out FILE.jsonl")
        return [] if self.text and not self.files else super().named()

    def texts(self):
        return self.text

    def _model(self) -> Any:
        import transformers_jax as tj

        config: Any = tj.AutoConfig.from_pretrained(self.folder)
        if "contrastive" in config.HEADS.values():
            if self.pooling is not None:
                raise ValueError(
                    f"--pooling {self.pooling}: {config.model_type} has vectors of its own, which "
                    "it compares; leave --pooling out"
                )
            return tj.from_pretrained(self.folder, head="contrastive", dtype=self.dtype)
        if self.text:
            self.check_head(config, "contrastive", "has no tower of texts (--text)")
        if self.pooling is not None:
            return tj.from_pretrained(self.folder, dtype=self.dtype)
        with trained(self.model, "give --pooling cls or --pooling mean, which need no pooler"):
            return tj.from_pretrained(self.folder, head="none", dtype=self.dtype)

    def prepared(self):
        import transformers_jax as tj

        model, processor = self._model(), self.processor()
        options: Any = dict(processor=processor, normalize=self.normalize, batch_size=self.batch)
        read = lambda files: processor(images=files)

        def answer(inputs: Inputs) -> list[Line]:
            vectors = tj.encode_images(model, inputs, pooling=self.pooling, **options)
            return [{"vector": vector.tolist()} for vector in vectors]

        def of_texts(texts: Sequence[str]) -> list[Line]:
            vectors = tj.encode_texts(model, list(texts), **options)
            return [{"text": text, "vector": v.tolist()} for text, v in zip(texts, vectors)]

        return Prepared(read, answer, of_texts)


@dataclass(frozen=True, kw_only=True)
class ZeroShot(OfPictures):
    """Classify pictures by names of classes, without training: the class whose text is nearest.

    With --out a JSON object for each file. What was interrupted goes on where it was, with the same
    command.
    """

    DOES = "classifying"

    labels: str
    """names of classes, with commas between: cat,dog"""
    template: UseAppendAction[tuple[str, ...]] = ()
    """a text with {} where the name stands; several are averaged; "a photo of a {}." without any"""

    def prepared(self):
        import transformers_jax as tj
        from transformers_jax.embedding.zero_shot import TEMPLATES, class_vectors, nearest_classes

        labels = [name.strip() for name in self.labels.split(",")]
        if not all(labels) or len(set(labels)) < len(labels):
            raise ValueError(
                f"--labels {self.labels}: expected names of classes, each once and none empty, "
                "with commas between, such as --labels cat,dog"
            )
        for template in self.template:
            if "{}" not in template:
                raise ValueError(
                    f"--template {template!r} has no {{}} where the name of a class stands; "
                    f"expected a text such as --template {TEMPLATES[0]!r}"
                )
        config: Any = tj.AutoConfig.from_pretrained(self.folder)
        self.check_head(config, "contrastive", "compares no pictures with texts")
        with trained(self.model, "it was not trained to compare pictures with texts"):
            model: Any = tj.from_pretrained(self.folder, head="contrastive", dtype=self.dtype)
        processor = self.processor()
        options: Any = dict(processor=processor, templates=self.template or TEMPLATES)
        vectors = class_vectors(model, labels, **options, batch_size=self.batch)

        def answer(inputs: Inputs) -> list[Line]:
            named = nearest_classes(model, inputs, labels, vectors, batch_size=self.batch)
            rows = [[float(p) for p in row] for row in named.probabilities]
            return [
                {"label": name, "score": max(row), "scores": dict(zip(labels, row))}
                for name, row in zip(named.names, rows)
            ]

        return Prepared(lambda files: processor(images=files), answer)

    def shown(self, line):
        order = sorted(line["scores"].items(), key=lambda one: -one[1])
        return ", ".join(f"{name} {score:.4f}" for name, score in order)


@dataclass(frozen=True, kw_only=True)
class Caption(OfPictures):
    """Describe pictures, or answer a prompt about each of them.

    With --out a JSON object for each file. What was interrupted goes on where it was, with the same
    command.
    """

    DOES = "describing"

    prompt: DisallowNone[str | None] = None
    """how each text begins; of a language model (LLaVA) what it is told, with <image> in it"""
    max_new_tokens: DisallowNone[int | None] = None
    num_beams: DisallowNone[int | None] = None

    def prepared(self):
        import transformers_jax as tj
        from transformers_jax.sizes import check_count
        from transformers_jax.vision.caption import arguments_of

        if self.max_new_tokens is not None:
            check_count("--max-new-tokens", self.max_new_tokens)
        with trained(self.model, "it was not trained to write about pictures"):
            model = tj.from_pretrained(self.folder, dtype=self.dtype)
        processor = self.processor()
        said = {"max_new_tokens": self.max_new_tokens, "num_beams": self.num_beams}
        options: Any = {name: value for name, value in said.items() if value is not None}

        def answer(inputs: Inputs) -> list[Line]:
            options.update(processor=processor, batch_size=self.batch)
            return [{"text": text} for text in tj.caption(model, inputs, **options)]

        return Prepared(arguments_of(model, processor, self.prompt), answer)

    def shown(self, line):
        return line["text"]
