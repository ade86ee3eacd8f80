"""Commands in this process, and the small Llama over bytes."""

import pytest

from tests.generation.conftest import folder, model, tokenizer  # noqa: F401 - fixtures
from transformers_jax import cli


@pytest.fixture
def here(capsys, monkeypatch):
    """stdout of a command in this process, where JAX is loaded already."""
    monkeypatch.setattr(cli.generating, "keep_compiled_programs", lambda: None)

    def call(*arguments) -> str:
        assert cli.run(list(map(str, arguments))) == 0
        return capsys.readouterr().out

    return call
