"""README and docs name only what is there: files, make targets, commands; and pictures are well-formed."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from convnet_kafka.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
# What helm/sources has is tested in the documents that are made of it.
DOCUMENTS = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "helm").glob("*.md"),
        *(ROOT / "helm").glob("*/*.md"),
        *(ROOT / "k8s").rglob("*.md"),
    }
)
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", TEXTS[path])
    missing = [target for target in targets if "://" not in target and not (path.parent / target.split("#")[0]).exists()]
    assert missing == []


def test_every_make_target_and_command_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = {word for text in TEXTS.values() for word in re.findall(r"`?\bmake ([a-z]+(?:-[a-z]+)*)\b(?=[`\s,;)]|$)", code_of(text))}
    assert named
    assert named <= targets
    commands = {word for text in TEXTS.values() for word in re.findall(r"convnet-kafka ([a-z]+)\b", code_of(text))}
    assert commands
    assert commands <= set(COMMANDS)


def code_of(text: str) -> str:
    """Fenced shell blocks without their comments, and what stands in backquotes."""
    blocks = [re.sub(r"\s#.*", "", block) for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "-C", str(ROOT), "--no-print-directory", "help"], capture_output=True, text=True, timeout=30, check=True)
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(re.findall(r"^  make ([a-z-]+)", done.stdout, re.MULTILINE)) == set(phony.group(1).split())


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_well_formed_and_described(path: Path) -> None:
    names = {element.tag.rpartition("}")[2] for element in ET.parse(path).getroot().iter()}
    assert {"title", "desc"} <= names
