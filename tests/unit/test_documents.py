"""The documents against what they speak of: links, settings, commands, make targets."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))

_BLOCK = re.compile(r"^[ ]*```(?P<language>\w*)\n(?P<text>.*?)^[ ]*```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?<![\w/.@=-])cmis (?P<words>[^;`#\n]+)")
_OPTION = re.compile(r"(?<=\s)--[a-z][a-z-]*")
_TARGET = re.compile(r"(?<![\w-])make ((?:[a-z]+\|)*[a-z]+)")


@every_document
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    links = [link for link in _LINK.findall(_without_blocks(document)) if "://" not in link]
    assert [link for link in links if not _leads_somewhere(document, link)] == []


def test_every_setting_of_the_product_is_in_the_settings_table() -> None:
    table = (ROOT / "docs/operating.md").read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert rows == set(_variables(ROOT / "core/config.py"))


@every_document
def test_every_command_that_is_named_exists_with_its_options(document: Path) -> None:
    assert [said for said in _commands_named(document) if not _exists(said)] == []


def test_every_command_is_in_the_reference() -> None:
    said = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert [path for path in _paths(cli, "cmis") if not re.search(rf"`{path}[ `]", said)] == []


@every_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for code in _code(document) for found in _TARGET.findall(code) for name in found.split("|")}
    assert named <= targets


def _without_blocks(document: Path) -> str:
    return _BLOCK.sub("", document.read_text(encoding="utf-8"))


def _leads_somewhere(document: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = (document.parent / path) if path else document
    return target.exists() and (not heading or heading in _anchors(target))


def _anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as hosts of repositories make them."""
    headings = (heading.lower().replace(" ", "-") for heading in _HEADING.findall(_without_blocks(document)))
    return {re.sub(r"[^\w-]", "", heading) for heading in headings}


def _variables(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="env"), attr="get"), args=[ast.Constant(value=str(name)), *_]
            ):
                yield name


def _code(document: Path) -> Iterator[str]:
    text = document.read_text(encoding="utf-8")
    for block in _BLOCK.finditer(text):
        if block["language"] == "sh":
            yield from block["text"].replace("\\\n", " ").splitlines()
    yield from _INLINE.findall(_BLOCK.sub("", text))


def _commands_named(document: Path) -> Iterator[str]:
    for code in _code(document):
        for found in _COMMAND.finditer(code):
            yield from _spelled_out(found["words"])


def _spelled_out(words: str) -> Iterator[str]:
    """Take `orgs|rules` as two commands."""
    first, _, rest = words.partition(" ")
    for name in first.split("|"):
        yield f"{name} {rest}".strip()


def _exists(said: str) -> bool:
    command: click.Command = cli
    for word in said.split():
        if not isinstance(command, click.Group) or not re.fullmatch("[a-z]+(-[a-z]+)*", word):
            break
        found = command.get_command(click.Context(command), word)
        if found is None:
            return False
        command = found
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return set(_OPTION.findall(said.partition(" -- ")[0])) <= known


def _paths(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        here = click.Context(command)
        for name in command.list_commands(here):
            one = command.get_command(here, name)
            assert one is not None
            yield from _paths(one, f"{path} {name}")
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path
