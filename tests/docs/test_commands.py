"""Every command of the README and of the pages under docs/ is run, as it stands there."""

import re

import pytest

from tests.docs.commands import PAGES, SMALLER, blocks, check_requirements, execute, expand

WITH_COMMANDS = [page for page in PAGES if blocks(page)]
RUN = "import sys; from tests.docs.commands import main; main(*sys.argv[1:])"


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, tmp_path, on_eight_devices):
    on_eight_devices(RUN, page, tmp_path)


def test_what_is_made_smaller_stands_in_a_page():
    text = "".join(block for page in PAGES for block in blocks(page))
    assert [words for words in SMALLER if words not in text] == []


def test_blocks_in_other_languages_are_no_commands():
    """A block of commands under another name, such as ```shell, would not be run."""
    names = {
        name for page in PAGES for name in re.findall(r"^```([\w{}]+)", page.read_text(), re.M)
    }
    assert names <= {"bash", "sh", "python", "text", "{toctree}"}


def test_a_wrong_command_is_noticed(tmp_path, capsys):
    with pytest.raises(AssertionError, match="status 2"):
        execute("transformers-jax", "raport", "runs/a")
    with pytest.raises(AssertionError, match="no extra trian"):
        check_requirements(("install", "-e", ".[trian]"))
    with pytest.raises(Exception, match="status 127"):
        expand("transformers_jax runs", tmp_path)
