"""`transformers-jax serve`."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from typing import Any

from transformers_jax.cli import texts
from transformers_jax.cli.files import trained
from transformers_jax.cli.models import Ignored, Model
from transformers_jax.extras import need
from transformers_jax.runs.pretrain import keep_compiled_programs
from transformers_jax.training.exported import model_folder


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve a decoder to the programs of this machine, by OpenAI's API.

    Texts of several clients are written together (continuous batching), and what a prompt has in
    common with an earlier one is not read again. GET /v1/models and /health, POST /v1/completions
    and /v1/chat/completions. There are no keys and no encryption: with another --host than the
    loopback everyone who reaches the port can use the model.
    """

    model: Model
    port: int = 8000
    """0 takes a free one"""
    host: str = "127.0.0.1"
    slots: int = 4
    """how many texts are written at once; others wait"""
    length: int = 2048
    """how many tokens a text may have, its prompt included"""
    dtype: str = "float32"
    """of the parameters: float32, bfloat16, auto, ..."""
    cache_dtype: str = ""
    """of keys and values; int8 has a quarter of the memory of float32"""
    name: str = ""
    """of the model, among clients; that of its folder if not given"""
    ignore: Ignored = ()

    def run(self) -> None:
        """Serves until Ctrl-C."""
        import transformers_jax as tj
        from transformers_jax.serving.http import application
        from transformers_jax.serving.service import Request, Service
        from transformers_jax.sizes import check_count

        uvicorn = need("uvicorn", "serve", "a server")
        need("starlette", "serve", "a server")
        for flag in ("slots", "length"):
            check_count(f"--{flag}", getattr(self, flag))
        listening = listen(self.host, self.port)
        keep_compiled_programs()
        folder = model_folder(self.model)
        tokenizer = texts.read_tokenizer(folder)
        with trained(self.model, "it was not trained to continue texts"):
            model = tj.from_pretrained(folder, dtype=self.dtype, ignore=self.ignore)
        texts.check_together(model, tokenizer)
        name = self.name or str(self.model).rstrip("/").rpartition("/")[2]
        cache_dtype = self.cache_dtype or None
        with Service(model, tokenizer, self.slots, self.length, cache_dtype) as service:
            service.write(Request([0], 2))  # compiles the programs before the first client comes
            host, port = listening.getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            print(
                f"serving {name} at http://{host}:{port}/v1, {self.slots} texts of "
                f"{service.length} tokens at once; Ctrl-C ends",
                file=sys.stderr,
                flush=True,
            )
            server = uvicorn.Server(
                uvicorn.Config(application(service, name), log_level="warning", lifespan="off")
            )
            server.run(sockets=[listening])


def listen(host: str, port: int) -> Any:
    """A socket that listens.

    Raises:
        ValueError: a port that is no port or is taken, or an address that this machine has not.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"--port {port} is none: ports are 0 (a free one) to {2**16 - 1}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise ValueError(
            f"cannot serve at {host} port {port} ({error.strerror or error}); pass another --port, "
            "or --port 0 for a free one"
        ) from None
    return listening
