"""A server of the small Llama over bytes."""

import threading
import time

import pytest
import uvicorn

from tests.generation.conftest import LENGTH, folder, model, tokenizer  # noqa: F401 - fixtures
from transformers_jax.cli.serving import listen
from transformers_jax.serving.http import application
from transformers_jax.serving.service import Service


@pytest.fixture(scope="session")
def service(model, tokenizer):  # noqa: F811
    with Service(model, tokenizer, slots=3, length=LENGTH) as service:
        yield service


@pytest.fixture(scope="session")
def address(service):
    """Where the server of the service listens."""
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(application(service, "bytes"), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
