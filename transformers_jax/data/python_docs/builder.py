"""The TFDS builder of `python_docs`; a file of its own, because it needs tensorflow_datasets.

The records are array_record: writing and reading them takes no TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
import tensorflow_datasets as tfds

from transformers_jax.data.python_docs import documents, split_of, version


def quietly(function: Callable[[], object]) -> None:
    """Calls a function of TFDS without its bars and remarks; errors are raised as ever."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        function()


class PythonDocs(tfds.core.GeneratorBasedBuilder):
    """The documentation of the running interpreter, split by module."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=version())]

    def __init__(self, **options):
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "number": tfds.features.Scalar(dtype=np.int32),
            "module": tfds.features.Text(),
            "name": tfds.features.Text(),
            "text": tfds.features.Text(),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        every = list(documents())
        return {split: self._generate_examples(every, split) for split in ("train", "validation")}

    def _generate_examples(self, every, split):
        for number, document in enumerate(every):
            if split_of(document.module) == split:
                yield number, {"number": number, **document._asdict()}
