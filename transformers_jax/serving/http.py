"""The paths of the server: GET /v1/models and /health, POST /v1/completions and
/v1/chat/completions, by Starlette."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from typing import Any

from transformers_jax.extras import need
from transformers_jax.generation.conversations import prompt_of
from transformers_jax.generation.slots import Written
from transformers_jax.generation.stopping.token_bytes import token_bytes
from transformers_jax.json_files import json_text, parse_json
from transformers_jax.serving import schema
from transformers_jax.serving.answers import Writer, usage
from transformers_jax.serving.schema import Asked, Refused
from transformers_jax.serving.service import Piece, Request, Service, Ticket

LARGEST = 8 * 2**20
"""The most bytes of a request."""


def application(service: Service, name: str) -> Any:
    """The server of a service as an ASGI application; `name` is that of its model."""
    applications = need("starlette.applications", "serve", "a server")
    routing = need("starlette.routing", "serve", "a server")
    server = Server(service, name)
    routes = [
        ("/health", server.health, ["GET"]),
        ("/v1/models", server.models, ["GET"]),
        ("/v1/models/{name:path}", server.model, ["GET"]),
        ("/v1/completions", server.completions, ["POST"]),
        ("/v1/chat/completions", server.conversation, ["POST"]),
    ]
    made = [routing.Route(path, call, methods=methods) for path, call, methods in routes]
    return applications.Starlette(routes=made)


class Server:
    """Answers the requests of HTTP by a service."""

    def __init__(self, service: Service, name: str):
        self.service, self.name, self.born = service, name, int(time.time())
        self.responses = need("starlette.responses", "serve", "a server")
        self.bytes_of = functools.cache(lambda: token_bytes(service.tokenizer))
        self.gone = need("starlette.requests", "serve", "a server").ClientDisconnect

    # ------------------------------------------------------------ what is served

    async def health(self, request: Any) -> Any:
        """200, or 503 where the service has failed."""
        error = self.service.error
        values = {"status": "ok"} if error is None else {"status": "failed", "error": str(error)}
        return self._json(values, 200 if error is None else 503)

    async def models(self, request: Any) -> Any:
        return self._json({"object": "list", "data": [self._model()]})

    async def model(self, request: Any) -> Any:
        named = request.path_params["name"]
        if named != self.name:
            message = f"the model {named!r} is not served here; this server has {self.name!r}"
            return self._refused(Refused(message, "model", 404, "model_not_found"))
        return self._json(self._model())

    def _model(self) -> dict[str, Any]:
        own = {"created": self.born, "owned_by": "transformers_jax"}
        return {"id": self.name, "object": "model", **own, "max_model_len": self.service.length}

    # ------------------------------------------------------------ texts

    async def completions(self, request: Any) -> Any:
        return await self._answer(request, chat=False)

    async def conversation(self, request: Any) -> Any:
        return await self._answer(request, chat=True)

    async def _answer(self, request: Any, chat: bool) -> Any:
        try:
            asked = schema.read(await self._body(request), chat, self.name)
            loop = asyncio.get_running_loop()
            requests, texts = await loop.run_in_executor(None, self._requests, asked, chat)
            streams = Streams(self.service, requests)
        except Refused as error:
            return self._refused(error)
        except ValueError as error:
            return self._refused(Refused(str(error), "messages" if chat else "prompt"))
        except RuntimeError as error:
            return self._refused(Refused(str(error), status=503, code="stopped"))
        writer = Writer(chat, self.name, self.service.tokenizer, asked.top, self.bytes_of)
        if asked.stream:
            pieces = self._events(asked, streams, writer, texts)
            return self.responses.StreamingResponse(pieces, media_type="text/event-stream")
        watch = asyncio.ensure_future(_gone(request))
        try:
            return self._json(await self._whole(asked, streams, writer, texts, watch))
        except Refused as error:
            return self._refused(error)
        finally:
            watch.cancel()
            streams.cancel()

    async def _body(self, request: Any) -> Any:
        raw = b""
        try:
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > LARGEST:
                    raise Refused(f"the body has more than {LARGEST} bytes", status=413)
        except self.gone:
            raise _left() from None
        try:
            return parse_json(raw, "the body", advice="send a JSON object")
        except ValueError as error:
            raise Refused(str(error)) from None

    def _requests(self, asked: Asked, chat: bool) -> tuple[list[Request], list[str]]:
        """(the texts to be written, what is echoed before each)."""
        tokenizer, made, echoed = self.service.tokenizer, [], []
        draws, vocabulary = iter(asked.draws), self.service.slots.vocabulary
        if wrong := [token for token in asked.draws[0].bias if not 0 <= token < vocabulary]:
            raise Refused(
                f"logit_bias has the token {wrong[0]}, outside the vocabulary [0, {vocabulary})",
                "logit_bias",
            )
        for prompt in asked.prompts:
            if chat:
                ids = prompt_of(tokenizer, prompt)
            elif isinstance(prompt, str):
                ids = self.service.encode(prompt)
            else:
                ids = prompt
            text = ""
            if asked.echo:
                text = prompt if isinstance(prompt, str) else tokenizer.decode(ids)
            room = self.service.length - len(ids)
            most = room if asked.most is None else asked.most
            if most > room > 0:
                raise Refused(
                    f"max_tokens is {most}, and the prompt has {len(ids)} tokens: together more "
                    f"than the {self.service.length} of this server; pass at most {room}",
                    "max_tokens",
                    code="context_length_exceeded",
                )
            for _ in range(asked.choices):
                grammar = None
                if asked.constraint is not None:
                    grammar = self._constraint(*asked.constraint)
                top = asked.top or 0
                made.append(Request(ids, most, next(draws), asked.stop, top, grammar=grammar))
                echoed.append(text)
        return made, echoed

    def _constraint(self, kind: str, text: Any) -> Any:
        """The state of a grammar or a schema, of one text."""
        try:
            return self.service.grammar(kind, text)
        except ValueError as error:
            param = "grammar" if kind == "grammar" else "response_format"
            raise Refused(str(error), param) from None

    async def _whole(self, asked, streams: Streams, writer: Writer, texts, watch) -> Any:
        count = len(streams.requests)
        text = list(texts)
        tokens: list[list[Written]] = [[] for _ in range(count)]
        finish: list[str | None] = [None] * count
        async for index, piece in streams.pieces(watch):
            text[index] += piece.text
            tokens[index] += [piece.written] if piece.written else []
            finish[index] = piece.finish or finish[index]
        choices = [writer.choice(n, text[n], tokens[n], finish[n]) for n in range(count)]
        return writer.whole(choices, streams.usage())

    async def _events(
        self, asked: Asked, streams: Streams, writer: Writer, texts: list[str]
    ) -> AsyncIterator[str]:
        event = lambda values: f"data: {json_text(values, ensure_ascii=False)}\n\n"
        try:
            offsets = [len(text) for text in texts]
            for index, text in enumerate(texts):
                if writer.chat or text:
                    yield event(writer.chunk(index, text or None, first=True))
            async for index, piece in streams.pieces():
                told = [piece.written] if piece.written and asked.top is not None else []
                if piece.text or told or piece.finish:
                    at = offsets[index]
                    yield event(writer.chunk(index, piece.text, told, piece.finish, offset=at))
                    offsets[index] += len(piece.text)
            if asked.usage:
                yield event(writer.counted(streams.usage()))
            yield "data: [DONE]\n\n"
        except Refused as error:  # of the service, in the middle of a text
            yield event({"error": _error(error)})
        finally:  # also where the client has gone
            streams.cancel()

    # ------------------------------------------------------------ answers of HTTP

    def _json(self, values: Any, status: int = 200) -> Any:
        # in ASCII: what a client sent may hold what UTF-8 has no bytes for
        return self.responses.Response(json_text(values), status, media_type="application/json")

    def _refused(self, error: Refused) -> Any:
        return self._json({"error": _error(error)}, error.status)


class Streams:
    """The texts of one request while they are written."""

    def __init__(self, service: Service, requests: list[Request]):
        self.requests, self.tickets = requests, list[Ticket]()
        self.written, self.reused = [0] * len(requests), [0] * len(requests)
        self.queue: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def told(index: int) -> Any:
            put = self.queue.put_nowait
            return lambda piece: loop.call_soon_threadsafe(put, (index, piece))

        try:
            for index, request in enumerate(requests):
                if request.most:
                    self.tickets.append(service.submit(request, told(index)))
                else:
                    service.slots.check(request.prompt, request.draw)
        except Exception:
            self.cancel()
            raise

    async def pieces(self, watch: Any = None) -> AsyncIterator[tuple[int, Piece]]:
        """The pieces of all texts as they come; those of none tokens end at once.

        Raises:
            Refused: the service has failed, or the client has gone (`watch` is done).
        """
        for index, request in enumerate(self.requests):
            if not request.most:
                yield index, Piece("", finish="length")
        left = len(self.tickets)
        while left:
            get = asyncio.ensure_future(self.queue.get())
            waited = {get} if watch is None else {get, watch}
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if not get.done():
                    raise _left()
            finally:  # also where this is cancelled
                get.cancel()
            index, piece = get.result()
            if isinstance(piece, Exception):
                raise Refused(f"the text could not be written: {piece}", status=500, code="failed")
            self.written[index] += piece.written is not None
            self.reused[index] = max(self.reused[index], piece.reused)
            left -= piece.finish is not None
            yield index, piece

    def usage(self) -> dict[str, Any]:
        """The tokens of all texts; a prompt of several choices counts once."""
        prompts = {id(request.prompt): request for request in self.requests}
        count = sum(len(request.prompt) for request in prompts.values())
        return usage(count, sum(self.written), self.reused[0] if self.reused else 0)

    def cancel(self) -> None:
        """What has not been written is not wanted any more."""
        for ticket in self.tickets:
            ticket.cancel()


async def _gone(request: Any) -> None:
    """Returns when the client has gone."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.25)


def _left() -> Refused:
    return Refused("the client has gone", status=499, code="gone")


def _error(error: Refused) -> dict[str, Any]:
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"message": str(error), "type": kind, "param": error.param, "code": error.code}
