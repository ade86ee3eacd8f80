"""The small text, run and models of the engine's tests."""

from tests.training.conftest import compiled_once, model, small, text_file, without_pictures

__all__ = ["compiled_once", "model", "small", "text_file", "without_pictures"]
