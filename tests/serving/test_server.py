"""The server, asked by OpenAI's own client: its texts are those of `tj.generate`."""

import asyncio
import concurrent.futures
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import openai
import pytest

from transformers_jax.generation.slots import Written
from transformers_jax.serving.answers import Writer
from transformers_jax.serving.http import application
from transformers_jax.serving.service import Request, Service

PROMPTS = ["def main", "x", "while the list is long ", "import os\nimport sys\n", "Käse €"]


@pytest.fixture(scope="module")
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def alone(model, tokenizer, prompt, new):
    """The text that `generate` writes."""
    ids = [int(token) for token in tokenizer.encode(prompt)]
    made = np.array(model.generate(np.array([ids]), max_new_tokens=new))[0].tolist()
    return tokenizer.decode(made[len(ids) :], skip_special_tokens=True)


def complete(client, prompt, new=12, **options):
    options = {"temperature": 0, **options}
    return client.completions.create(model="bytes", prompt=prompt, max_tokens=new, **options)


def test_texts_are_those_of_generate_also_when_many_ask_at_once(client, model, tokenizer):
    with concurrent.futures.ThreadPoolExecutor(len(PROMPTS)) as pool:
        answers = list(pool.map(lambda prompt: complete(client, prompt), PROMPTS))
    for prompt, answer in zip(PROMPTS, answers):
        assert answer.choices[0].text == alone(model, tokenizer, prompt, 12)
        assert answer.choices[0].finish_reason in ("length", "stop")
        assert answer.usage.prompt_tokens == len(tokenizer.encode(prompt))
    assert len({answer.choices[0].text for answer in answers}) == len(PROMPTS)  # the control


def test_a_stream_has_the_same_text_and_counts_its_tokens(client):
    whole = complete(client, PROMPTS[2], 20)
    stream = complete(client, PROMPTS[2], 20, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert len(chunks) > 5
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_conversation_is_read_by_the_template_and_its_turns_are_kept(client, model, tokenizer):
    messages = [{"role": "user", "content": "how are you, and what do you read?"}]
    ask = lambda messages: client.chat.completions.create(
        model="bytes", messages=messages, temperature=0, max_completion_tokens=8
    )
    first = ask(messages)
    prompt = "<user>how are you, and what do you read?<assistant>"
    assert first.choices[0].message.content == alone(model, tokenizer, prompt, 8)
    messages += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": [{"type": "text", "text": "go on"}]},
    ]
    second = ask(messages)
    assert second.usage.prompt_tokens_details.cached_tokens >= len(prompt)
    prompt += f"{first.choices[0].message.content}<user>go on<assistant>"
    assert second.choices[0].message.content == alone(model, tokenizer, prompt, 8)
    stream = client.chat.completions.create(
        model="bytes", messages=messages, temperature=0, max_completion_tokens=8, stream=True
    )
    chunks = [chunk.choices[0] for chunk in stream]
    assert chunks[0].delta.role == "assistant"
    text = "".join(chunk.delta.content or "" for chunk in chunks)
    assert text == second.choices[0].message.content


def test_what_is_drawn_follows_its_seed(client):
    draw = lambda seed: complete(client, "a", seed=seed, temperature=1.0, n=2, top_p=0.95)
    texts = [tuple(c.text for c in draw(seed).choices) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0][0] != texts[0][1]


def test_stop_strings_probabilities_echo_and_bias(client, model, tokenizer):
    text = alone(model, tokenizer, "x", 12)
    stop = text[4:6]
    stopped = complete(client, "x", stop=[stop])
    assert stopped.choices[0].text == text[: text.find(stop)]
    assert stopped.choices[0].finish_reason == "stop"
    told = complete(client, "x", 3, logprobs=2).choices[0].logprobs
    ids = tokenizer.encode("x")
    logits = np.array(model(input_ids=ids[None]).logits)[0, -1].astype(np.float64)
    likely = np.sort(logits - np.log(np.exp(logits).sum()))[::-1]
    assert told.token_logprobs[0] == pytest.approx(likely[0], abs=1e-4)
    assert [*told.top_logprobs[0].values()] == pytest.approx(likely[:2], abs=1e-4)
    assert complete(client, "x", 3, echo=True).choices[0].text.startswith("x")
    token = int(tokenizer.encode("q")[0])
    biased = complete(client, "x", 3, logit_bias={str(token): 100}).choices[0].text
    assert biased == "qqq"
    by_ids = complete(client, ids.tolist(), 12).choices[0].text
    assert by_ids == text
    chat = client.chat.completions.create(
        model="bytes", messages=[{"role": "user", "content": "a"}], max_tokens=2, logprobs=True,
        top_logprobs=3, temperature=0,
    )  # fmt: skip
    assert [len(one.top_logprobs) for one in chat.choices[0].logprobs.content] == [3, 3]


def test_parts_of_a_character_are_told_as_their_bytes(client, tokenizer):
    token = int(tokenizer.encode("€")[1])  # the second of its three bytes
    call = dict(model="bytes", max_tokens=2, logit_bias={str(token): 100}, temperature=0)
    messages = [{"role": "user", "content": "a"}]
    told = client.chat.completions.create(messages=messages, logprobs=True, **call)
    assert [one.bytes for one in told.choices[0].logprobs.content] == [["€".encode()[1]]] * 2


def test_of_tokens_with_one_text_the_likeliest_is_told(tokenizer):
    one, other = (int(token) for token in tokenizer.encode("€")[:2])
    written = Written(one, -1.0, [(one, -1.0), (other, -2.0)])
    told = Writer(False, "bytes", tokenizer, 2, dict).choice(0, "", [written], None)
    assert told["logprobs"]["top_logprobs"] == [{"\ufffd": -1.0}]


def test_models_and_health(client, address):
    assert [model.id for model in client.models.list()] == ["bytes"]
    assert client.models.retrieve("bytes").owned_by == "transformers_jax"
    with urllib.request.urlopen(f"{address}/health") as answer:
        assert json.load(answer) == {"status": "ok"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "other"}, "the model 'other' is not served here; this server has 'bytes'"),
        ({"temperature": 3}, "temperature must be a number from 0 to 2, got 3"),
        ({"extra_body": {"temprature": 1}}, "unknown field 'temprature'.*temperature"),
        ({"stop": [""]}, "none of them empty"),
        ({"max_tokens": 500}, "together more than the 160 of this server; pass at most 159"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [5, 9999]}, "9999"),
        ({"prompt": "x" * 160}, "the prompt has 160 tokens, and a slot holds 160"),
        ({"suffix": "end"}, "suffix is not served: leave it out"),
        ({"best_of": 3}, "best_of is 3, and n 1"),
        ({"echo": True, "logprobs": 1}, "echo with logprobs is not served"),
        ({"logit_bias": {"5": 101}}, "logit_bias must be"),
        ({"stream_options": {"include_usage": True}}, "pass stream=true"),
        ({"extra_body": {"response_format": {"type": "xml"}}}, "response_format must be"),
        ({"extra_body": {"top_k": 10**400}}, "top_k must be a whole number from -1 to 2147483647"),
        ({"logit_bias": {"5": 10**400}}, "logit_bias must be"),
        ({"logit_bias": {"9999": 1}}, "logit_bias has the token 9999, outside the vocabulary"),
        ({"prompt": [9999], "max_tokens": 0}, "9999"),
    ],
)
def test_a_request_that_is_wrong_is_refused_by_its_field(options, said, client):
    call = {"model": "bytes", "prompt": "x", "max_tokens": 3, **options}
    with pytest.raises(openai.APIStatusError, match=said) as error:
        client.completions.create(**call)
    assert error.value.status_code in (400, 404)


def test_a_field_that_has_no_utf8_is_refused_too(address):
    url = f"{address}/v1/completions"
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(url, b'{"\\ud800": 1}'))
    assert error.value.code == 400
    assert "unknown field" in json.load(error.value)["error"]["message"]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "messages must be a list with at least one message"),
        ([{"role": "poet", "content": "a"}], r"messages\[0\].role must be one of"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "only texts are read"),
        ([{"role": "user", "content": [{"type": "text"}]}], "only texts are read"),
        ([{"role": "user", "content": [{"type": "text", "text": None}]}], "only texts are read"),
    ],
)
def test_a_conversation_that_is_wrong_is_refused(messages, said, client):
    with pytest.raises(openai.BadRequestError, match=said):
        client.chat.completions.create(model="bytes", messages=messages)
    with pytest.raises(openai.BadRequestError, match="tools is not served"):
        client.chat.completions.create(
            model="bytes", messages=[{"role": "user", "content": "a"}], tools=[{"type": "function"}]
        )


def test_a_client_that_goes_frees_its_slot(client, service):
    stream = complete(client, "while", 150, stream=True, logit_bias={"0": -100})
    next(iter(stream))
    stream.close()
    answers = [complete(client, prompt, 4) for prompt in PROMPTS]  # more than there are slots
    assert all(answer.usage.completion_tokens for answer in answers)
    assert service.slots.available == 3


def test_a_client_that_goes_within_its_request_is_no_error(service):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
    asyncio.run(application(service, "bytes")(scope, receive, send))
    assert sent[0]["status"] == 499


def test_a_request_with_which_the_service_fails_is_told(model, tokenizer, monkeypatch):
    with Service(model, tokenizer, slots=1, length=32) as service:

        def failing(*_):
            raise OverflowError("too large")

        monkeypatch.setattr(service.slots, "admit", failing)
        for said in ("could not be written: too large", "has stopped: too large"):
            with pytest.raises(RuntimeError, match=said):
                service.write(Request([5], 2))


def test_the_command_serves_and_says_where(folder):
    command = [sys.executable, "-m", "transformers_jax", "serve", str(folder), "--port", "0"]
    command += ["--slots", "2", "--length", "64", "--cache-dtype", "int8"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = next(line for line in process.stderr if line.startswith("serving"))
            assert "serving bytes at http://127.0.0.1:" in line
            assert "2 texts of 64 tokens at once" in line
            client = openai.OpenAI(base_url=line.split()[3].rstrip(","), api_key="none")
            assert complete(client, "x", 5).usage.completion_tokens <= 5
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "70000"], "--port 70000 is none"),
        (["--host", "192.0.2.1"], "cannot serve at 192.0.2.1 port 8000"),
        (["--slots", "0"], "--slots"),
    ],
)
def test_the_command_refuses_what_it_cannot_serve(flags, said, folder, capsys):
    from transformers_jax.cli import main

    assert main(["serve", str(folder), *flags]) != 0
    assert said in capsys.readouterr().err
