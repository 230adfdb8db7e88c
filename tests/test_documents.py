"""Checks the documents: shell syntax of code blocks, existing commands and flags, links, and the table of contents.

`.ci/blocks` runs the blocks.
"""

import ast
import functools
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    """Returns (document, block) of each block in that language."""
    return [(path.name, block) for path in PAGES
            for block in re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"),
                                    re.DOTALL | re.MULTILINE)]


BLOCKS = blocks("sh")
COMMAND = re.compile(r"python (train\.py|predict\.py|-m (?:kits_tf|data_prep)[\w.]*)(.*)")


def commands(block):
    """Yields (command, its flags) of each line that runs one of our commands; ignores comments."""
    for line in re.sub(r" #.*", "", block.replace("\\\n", " ")).splitlines():
        found = COMMAND.search(line)
        if found:
            yield found[1], re.findall(r"--(?:no)?(\w+)", found[2])


@functools.cache
def help_of(command):
    return subprocess.run([sys.executable, *command.split(), "--help"], capture_output=True, text=True, cwd=ROOT,
                          timeout=60, check=True).stdout


def test_the_documents_have_code_blocks():
    assert len(BLOCKS) > 15 and len(blocks("python")) >= 2
    assert len({command for _, block in BLOCKS for command, _ in commands(block)}) >= 7


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=lambda text: text.splitlines()[0][:50])
def test_a_block_can_be_pasted(name, block):
    parsed = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert (parsed.returncode, parsed.stderr) == (0, ""), name
    for command, flags in commands(block):
        assert [flag for flag in flags if not re.search(rf"--(\[no\])?{flag}\b", help_of(command))] == [], command


@pytest.mark.parametrize(("name", "block"), blocks("python"), ids=lambda text: text.splitlines()[0][:50])
def test_a_block_of_python_can_be_parsed_and_imports_what_is_there(name, block):
    imports = [node for node in ast.walk(ast.parse(block, name)) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        if node.module.startswith(("kits_tf", "data_prep")):
            assert [alias.name for alias in node.names
                    if not hasattr(importlib.import_module(node.module), alias.name)] == [], node.module


@pytest.mark.parametrize(("block", "found"), [
    ("python train.py --stage=fine \\\n  --fold=1  # --no=flag", [("train.py", ["stage", "fold"])]),
    ("TF_CONFIG='{}' python -m kits_tf.cascade --run_dir=a", [("-m kits_tf.cascade", ["run_dir"])]),
    ("make test", [])])
def test_commands_are_read_off_a_block(block, found):
    assert list(commands(block)) == found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_documents_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_both_tables_of_contents():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    listed = re.findall(r"^  - .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    linked = re.findall(r"\]\((\S+\.md)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(pages)
    assert listed == ["README.md", *linked]
