"""Texts of schemas and grammars, as clients ask for them."""

import json

import openai
import pytest

from transformers_jax.serving.service import Request

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}, "y": {"enum": [1, 2]}},
    "required": ["x", "y"],
    "additionalProperties": False,
    "x-guidance": {"whitespace_flexible": False},
}


@pytest.fixture(scope="module")
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def asked(client, **options):
    message = [{"role": "user", "content": "Where?"}]
    answer = client.chat.completions.create(model="bytes", messages=message, **options)
    return [(choice.message.content, choice.finish_reason) for choice in answer.choices]


def test_a_format_and_a_grammar_are_kept(client):
    form = {"type": "json_schema", "json_schema": {"name": "point", "schema": POINT}}
    for text, finish in asked(client, response_format=form, n=3, temperature=1.5, seed=0):
        assert (finish, json.loads(text).keys()) == ("stop", {"x", "y"})
    grammar = 'start: "yes" | "no"'
    [(text, finish)] = asked(client, extra_body={"grammar": grammar})
    assert (text in ("yes", "no"), finish) == (True, "stop")


def test_a_schema_that_cannot_be_met_is_refused(client):
    form = {"type": "json_schema", "json_schema": {"name": "none", "schema": {"enum": []}}}
    with pytest.raises(openai.BadRequestError, match="json_schema cannot be met: anyOf is empty"):
        asked(client, response_format=form)


class Stuck:
    """A grammar that cannot go on."""

    def mask(self):
        raise ValueError("grammar: no token can come next")


def test_a_text_that_cannot_go_on_ends_alone(service):
    free = service.slots.available
    with pytest.raises(RuntimeError, match="could not be written: grammar: no token can come next"):
        service.write(Request([5, 6], 4, grammar=Stuck()))
    assert service.slots.available == free
    assert service.write(Request([5, 6], 4))[-1].finish in ("stop", "length")
