"""The Python blocks of every page run, in order, in one namespace a page and an empty folder."""

import re
import shutil
from pathlib import Path

import jax
import pytest

import transformers_jax as tj
from transformers_jax.data.generated import TABLES
from transformers_jax.data.tokenizers import train_tokenizer

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")])
QUICK = ("question-answering",)
"""Pages of tasks that are run each time; each of them trains a model, and the others are slow."""


def blocks(page: Path) -> list[tuple[int, str]]:
    """(line, code) of each block of Python."""
    text = page.read_text()
    matches = re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in matches]


WITH_CODE = [page for page in PAGES if blocks(page)]
MARKED = [
    pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem not in QUICK))
    if page.parent.name == "tasks"
    else pytest.param(page, id=page.stem)
    for page in WITH_CODE
]


def stand_in(folder: Path) -> None:
    """Writes small models under the names of the checkpoints that the README loads."""
    config = tj.BertConfig(
        vocab_size=30522, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, pad_token_id=0,
    )  # fmt: skip
    model = tj.from_config(config, head="masked_lm", key=jax.random.key(0))
    tj.save_pretrained(model, folder / "google-bert/bert-base-uncased")
    config = tj.GPT2Config(vocab_size=256, n_positions=128, n_embd=8, n_layer=1, n_head=2)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    tj.save_pretrained(model, folder / "runs/gpt/model")
    train_tokenizer("byte", [], 256).save(folder / "runs/gpt/model")
    small = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    towers = dict(
        text_config=tj.CLIPTextConfig(**small, vocab_size=49408),
        vision_config=tj.CLIPVisionConfig(**small, image_size=224, patch_size=32),
    )
    model = tj.from_config(tj.CLIPConfig(**towers, projection_dim=4), key=jax.random.key(0))
    tj.save_pretrained(model, folder / "openai/clip-vit-base-patch32")
    sides = {f"{side}_layers": 1 for side in ("encoder", "decoder")}
    sides |= {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    config = tj.WhisperConfig(d_model=8, encoder_ffn_dim=16, decoder_ffn_dim=16, **sides)
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    tj.save_pretrained(model, folder / "openai/whisper-tiny")
    shutil.copytree(
        ROOT / "tests/embedding/sentences", folder / "sentence-transformers/all-MiniLM-L6-v2"
    )


@pytest.mark.parametrize("page", MARKED)
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if page.name == "README.md":
        stand_in(tmp_path)
        few = [{"text": f"note {n}", "label": "ab"[n % 2]} for n in range(32)]
        monkeypatch.setitem(TABLES, "packages", lambda split: few)
    names: dict = {"__name__": page.stem}
    for line, code in blocks(page):
        exec(compile("\n" * line + code, str(page), "exec"), names)


def test_there_are_pages_with_code():
    assert len(WITH_CODE) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_page_is_in_the_table_of_contents():
    for folder in (ROOT / "docs", ROOT / "docs/tasks"):
        toc = (folder / "index.md").read_text()
        for page in folder.glob("*.md"):
            listed = re.search(rf"^{page.stem}$", toc, re.MULTILINE)
            assert page.stem == "index" or listed, page.name
    assert re.search(r"^tasks/index$", (ROOT / "docs/index.md").read_text(), re.MULTILINE)
