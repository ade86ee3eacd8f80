"""`transformers-jax generate`: streams, conversations and files of prompts."""

import io
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

import transformers_jax as tj
from tests.cli.test_cli import ENVIRONMENT
from transformers_jax import cli
from transformers_jax.cli.chat import Chat
from transformers_jax.generation.slots import Draw
from transformers_jax.serving.service import Service

FEW = ("--max-new-tokens", 6)


@pytest.fixture
def piped(monkeypatch, capsys):
    """stdout and stderr of a conversation with the lines of a pipe."""
    monkeypatch.setattr(cli.generating, "keep_compiled_programs", lambda: None)

    def call(folder, text, *flags) -> tuple[str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert cli.run(["generate", str(folder), "--chat", *map(str, flags)]) == 0
        return capsys.readouterr()

    return call


def first_answer(model, tokenizer, *messages) -> str:
    roles = ("user", "assistant") * len(messages)
    turns = [{"role": role, "content": text} for role, text in zip(roles, messages)]
    return tj.generate(model, messages=turns, tokenizer=tokenizer, max_new_tokens=6)[0]


# ---------------------------------------------------------------- one prompt


def test_a_stream_is_the_text_of_the_same_command(folder, here):
    command = ["generate", folder, "--prompt", "abc", *FEW]
    assert here(*command, "--stream") == here(*command)
    drawn = [*command, "--do-sample", "--seed", 3]
    assert here(*drawn, "--stream") == here(*drawn) != here(*command)
    of_ids = ["generate", folder, "--ids", "66 67", *FEW]
    assert here(*of_ids, "--stream") == here(*of_ids)


def test_drafts_and_stop_strings_are_flags(folder, tokenizer, here):
    command = ["generate", folder, "--prompt", "abcabc", "--max-new-tokens", 12, "--json"]
    plain = here(*command)
    assert here(*command, "--prompt-lookup-num-tokens", 3) == plain
    assert here(*command, "--assistant-model", folder) == plain
    stop = json.loads(plain)["text"][1]
    stopped = json.loads(here(*command, "--stop-strings", stop))["text"]
    assert stopped == json.loads(plain)["text"].split(stop)[0] + stop


def test_words_and_ends_of_a_text_are_flags(folder, tokenizer, here, tmp_path):
    of = lambda *flags: here("generate", folder, "--prompt", "abc", *FEW, *flags)[3:-1]
    plain = of()
    assert "xy" not in plain
    assert "xy" in of("--num-beams", 4, "--force-words", "xy")
    end, token = plain[1], int(tokenizer.encode(plain[1])[0])
    assert of("--eos-token-id", token).removesuffix(end) == plain.split(end)[0]
    ids = here("generate", folder, "--ids", "66 67", *FEW).split()[2:]
    ended = ("generate", folder, "--ids", "66 67", *FEW, "--eos-token-id", ids[3])
    assert (
        here(*ended).split()[2:] == ids[: ids.index(ids[3])] == here(*ended, "--stream").split()[2:]
    )
    prompts, out = tmp_path / "prompts.txt", tmp_path / "texts.jsonl"
    prompts.write_text("abc\n")
    of_file = ("--input", prompts, "--out", out, "--eos-token-id", token, *FEW)
    here("generate", folder, *of_file)
    assert json.loads(out.read_text())["text"].removesuffix(end) == plain.split(end)[0]


def test_a_file_has_any_options_and_flags_win_over_it(folder, here, tmp_path, piped):
    file = tmp_path / "options.json"
    of = lambda *flags: here("generate", folder, "--prompt", "abc", *flags)[3:-1]
    file.write_text('{"max_new_tokens": 6, "do_sample": true, "epsilon_cutoff": 0.001}')
    given = ("--generation-config", file)
    drawn = ("--do-sample", "--seed", 1, *FEW)
    assert of(*given, "--seed", 1) == of(*given, *drawn) != of(*FEW)
    assert of(*given, "--greedy") == of(*FEW)
    assert len(of(*given, "--greedy", "--max-new-tokens", 2)) == 2
    file.write_text('{"max_new_token": 6}')
    with pytest.raises(TypeError, match="'max_new_token'; did you mean 'max_new_tokens'"):
        of(*given)
    for text, words in (("[1]", "expected a JSON object of options"), ("{", "is not JSON")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            of(*given)
    file.write_text('{"num_beams": 2}')
    with pytest.raises(ValueError, match="slots, which do not have num_beams"):
        piped(folder, "hi\n", *given)


def test_what_generation_config_says_to_draw_is_drawn(folder, tmp_path, here):
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m/generation_config.json").write_text('{"do_sample": true, "top_k": 0}')
    command = ["generate", tmp_path / "m", "--prompt", "abc", *FEW]
    assert here(*command, "--seed", 1) == here(*command, "--seed", 1) != here(*command, "--greedy")
    assert here(*command, "--greedy") == here("generate", folder, "--prompt", "abc", *FEW)


def test_a_text_is_of_a_schema_or_a_grammar(folder, tmp_path, here, piped):
    schema, grammar = tmp_path / "schema.json", tmp_path / "yes.lark"
    schema.write_text('{"enum": [12]}')
    grammar.write_text('start: "yes"')
    of = lambda *flags: here("generate", folder, "--prompt", "a", *FEW, *flags)
    assert of("--json-schema", schema) == "a12\n"
    assert of("--grammar", grammar, "--stream") == "ayes\n"
    assert piped(folder, "a\n", *FEW, "--grammar", grammar).out == "yes\n"
    with pytest.raises(ValueError, match="exclude each other"):
        of("--grammar", grammar, "--json-schema", schema)
    with pytest.raises(ValueError, match=r"yes.lark is not JSON"):
        of("--json-schema", grammar)
    grammar.write_bytes(b"\xff")
    for flag in ("--grammar", "--json-schema"):
        with pytest.raises(ValueError, match=r"yes.lark is not UTF-8 \(at byte 0\)"):
            of(flag, grammar)
    with pytest.raises(ValueError, match=r"there is no file .*none"):
        here("generate", folder, "--chat", "--chat-template", tmp_path / "none")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--chat", "--prompt", "x"], "--chat and --prompt exclude"),
        (["--prompt", "x", "--system", "y"], "--system goes with --chat, not with --prompt"),
        (["--prompt", "x", "--out", "y"], "--out goes with --input"),
        (["--input", "x.jsonl"], "--input needs --out"),
        (["--chat", "--stream"], "--stream goes with --prompt or --ids, not with --chat"),
        (["--prompt", "x", "--stream", "--num-beams", "2"], "num_beams=1"),
        (["--prompt", "x", "--do-sample", "--greedy"], "exclude each other"),
        (["--chat", "--force-words", "x"], "--force-words needs beams"),
        (["--prompt", "x", "--force-words", "x"], "num_beams"),
        (["--chat", "--num-beams", "2"], "do not have --num-beams"),
        (["--chat", "--length-penalty", "2"], "do not have --length-penalty"),
        (["--chat", "--length", "8", *map(str, FEW), "--max-new-tokens", "9"], "leaves no room"),
        (["--chat", "--max-new-tokens", "0"], "at least one token; pass 1 or more"),
        (["--input", "x.csv", "--out", "y"], "expected a .jsonl file"),
    ],
)
def test_flags_without_effect_are_refused(flags, words, folder, here):
    with pytest.raises(ValueError, match=words):
        here("generate", folder, *flags)


# ---------------------------------------------------------------- conversations


def test_a_conversation_remembers(folder, model, tokenizer, piped):
    once = first_answer(model, tokenizer, "hi")
    twice = first_answer(model, tokenizer, "hi", once, "and")
    out, err = piped(folder, "hi\n\nand\n/reset\nhi\n/quit\nnever\n", *FEW)
    assert out == f"{once}\n{twice}\n{once}\n"
    assert err.count("anew") == 1


def test_commands_of_a_conversation(folder, model, tokenizer, piped):
    system = {"role": "system", "content": "be"}
    turns = [system, {"role": "user", "content": "hi"}]
    told = tj.generate(model, messages=turns, tokenizer=tokenizer, max_new_tokens=6)[0]
    out, err = piped(folder, "/system be\nhi\n/help\n/rest\n//x\n", *FEW)
    assert out.startswith(f"{told}\n")
    assert "/system  TEXT" in err
    assert "did you mean '/reset'" in err
    assert piped(folder, "hi\n", "--system", "be", *FEW)[0] == f"{told}\n"


def test_a_seed_draws_the_same_conversation(folder, piped):
    drawn = lambda seed: piped(folder, "a\nb\n", "--do-sample", "--seed", seed, *FEW)[0]
    assert drawn(1) == drawn(1) != drawn(2)


def test_the_oldest_turns_are_left_out_and_this_is_said(folder, model, tokenizer, piped):
    long = "x" * 40
    out, err = piped(folder, f"{long}\nhi\n{long * 3}\nhi\n", "--length", 64, *FEW)
    alone = first_answer(model, tokenizer, "hi")
    assert out.split("\n", 1)[1].startswith(alone)
    assert "left out of the oldest turns: 1" in err
    assert "the message has 1" in err  # that of 120 letters is not answered, and not kept


def test_only_what_is_new_is_read(model, tokenizer):
    with Service(model, tokenizer, 1, 160) as service:
        chat = Chat(service, Draw(), 6)
        chat.obey("a question")
        assert chat.reused == 0
        chat.obey("another")
        assert chat.reused >= len(tokenizer.encode("<user>a question<assistant>")) - 1


def test_an_answer_that_cannot_go_on_ends_alone(model, tokenizer, capsys):
    class Stuck:
        def start(self):
            return self

        def mask(self):
            raise ValueError("nothing can follow")

    with Service(model, tokenizer, 1, 160) as service:
        chat = Chat(service, Draw(), 6, grammar=Stuck())
        chat.obey("hi")
        assert "(ended: nothing can follow)" in capsys.readouterr().err
        chat.grammar = None
        chat.obey("/reset")
        chat.obey("hi")
    assert capsys.readouterr().out == f"{first_answer(model, tokenizer, 'hi')}\n"


def test_a_model_without_a_template_says_what_to_do(folder, tmp_path, piped):
    shutil.copytree(folder, tmp_path / "m")
    config = json.loads((tmp_path / "m/tokenizer_config.json").read_text())
    (tmp_path / "template").write_text(config.pop("chat_template"))
    (tmp_path / "m/tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="--chat-template FILE, or continue a text with --prompt"):
        piped(tmp_path / "m", "hi\n")
    given = piped(tmp_path / "m", "hi\n", "--chat-template", tmp_path / "template", *FEW)
    assert given == piped(folder, "hi\n", *FEW)


def test_ctrl_c_ends_an_answer_and_ctrl_d_the_conversation(folder):
    """In a terminal of its own."""
    main, side = pty.openpty()
    command = [sys.executable, "-m", "transformers_jax", "generate", str(folder), "--chat"]
    process = subprocess.Popen(
        [*command, "--greedy"], stdin=side, stdout=side, stderr=side,
        env={**ENVIRONMENT, "TERM": "dumb"}, start_new_session=True,
    )  # fmt: skip
    os.close(side)
    seen, until = b"", time.monotonic() + 200

    def wait(pattern: bytes) -> None:
        nonlocal seen
        while not re.search(pattern, seen, re.DOTALL):
            assert time.monotonic() < until, seen
            if select.select([main], [], [], 1)[0]:
                seen += os.read(main, 1000)
        time.sleep(0.2)  # what is printed in front of a wait is printed before it
        seen = b""

    try:
        wait(rb"> $")
        os.write(main, b"hi\n")
        wait(rb"hi\r\n.")  # the answer has begun
        process.send_signal(signal.SIGINT)
        wait(rb"\((interrupted|cut).*\r\n> $")
        process.send_signal(signal.SIGINT)
        wait(rb"Ctrl-D or /quit ends.*> $")
        os.write(main, b"\x04")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    file = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    records = [{"prompt": "ab" * (n % 4 + 1), "id": n} for n in range(4)]
    records.insert(2, {"messages": [{"role": "user", "content": "é"}]})
    file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return file


@pytest.mark.parametrize("flags", [(), ("--do-sample",)])
def test_a_file_is_answered_in_order_and_goes_on(flags, folder, prompts, tmp_path, here, tokenizer):
    out = tmp_path / "out.jsonl"
    command = ["generate", folder, "--input", prompts, "--out", out, "--batch", 2, *FEW, *flags]
    here(*command)
    whole = out.read_bytes()
    lines = [json.loads(line) for line in whole.splitlines()]
    records = [json.loads(line) for line in prompts.read_text().splitlines()]
    assert [{n: v for n, v in line.items() if n != "text"} for line in lines] == records
    if not flags:
        alone = json.loads(here("generate", folder, "--prompt", "abab", *FEW, "--json"))
        assert lines[1]["text"] == alone["text"]
    for size in (len(whole) // 2, whole.find(b"\n") + 1, len(whole)):  # killed there
        out.write_bytes(whole[:size])
        here(*command)
        assert out.read_bytes() == whole
    with pytest.raises(ValueError, match="made with other batch"):
        here(*command, "--batch", 3)
    other = tmp_path / "other.txt"
    other.write_text("xyz\n")
    with pytest.raises(ValueError, match="has lines of other records"):
        here("generate", folder, "--input", other, "--out", out, "--batch", 2, *FEW, *flags)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"prompt": "a"}\n{"promt": "b"}\n', r'line 2: expected \{"prompt"'),
        ('{"prompt": "a"}\n\n{"prompt": 3}\n', 'line 3: "prompt" must be a text'),
        ('{"prompt": "a", "text": "b"}\n', 'line 1 has the key "text"'),
        ('{"prompt": "a"\n', "line 1 is not JSON"),
        ('{"prompt": "a"}\n{"messages": [{"role": "me"}]}\n', r"line 2: messages\[0\].role"),
        ('{"prompt": "a"}\n{"prompt": "' + "long" * 50 + '"}\n', "line 2: .*160"),
        ("\n", "has no prompt"),
        ('{"prompt": "a", "id": "\\ud800"}\n', "line 1: a lone surrogate"),
        ('{"prompt": "a"}\n{"prompt": "b", "id": NaN}\n', "line 2: JSON has no word for id = nan"),
    ],
)
def test_errors_name_the_file_and_the_line(text, words, folder, tmp_path, here):
    file = tmp_path / "p.jsonl"
    file.write_text(text)
    out = tmp_path / "out.jsonl"
    with pytest.raises(ValueError, match=f"p.jsonl.*{words}"):
        here("generate", folder, "--input", file, "--out", out, *FEW)
    assert not (out.exists() and out.read_text())  # told before any line is written


def test_a_mark_of_the_byte_order_is_no_part_of_a_prompt(folder, tmp_path, here):
    for name in ("p.jsonl", "p.txt"):
        file, out = tmp_path / name, tmp_path / f"{name}.out"
        file.write_text('\ufeff{"prompt": "ab"}\n' if name == "p.jsonl" else "\ufeffab\n")
        here("generate", folder, "--input", file, "--out", out, *FEW)
        assert json.loads(out.read_text())["prompt"] == "ab"


def test_a_file_of_something_else_is_not_cut(folder, tmp_path, here):
    file, notes = tmp_path / "p.txt", tmp_path / "notes"
    file.write_text("a\nb"), notes.write_text("what I know")
    for out, said in (
        (file, "is the file of --input"),
        (notes, "of something else .*notes.made.json.*choose another --out"),
        (tmp_path / "no/out", "there is no folder .*no; make it"),
    ):
        with pytest.raises(ValueError, match=said):
            here("generate", folder, "--input", file, "--out", out, *FEW)
    assert (file.read_text(), notes.read_text()) == ("a\nb", "what I know")
