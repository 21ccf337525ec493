"""Bad input through the whole path, as a user meets it: a clear word for just that thing, and everything else goes on."""

from __future__ import annotations

import csv
import io
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from convnet.digits import DigitsFolders
from convnet_kafka.local.stack import Stack

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(stack: Stack, tmp_path: Path) -> Command:
    """The `convnet-kafka` command, talking to the stack."""

    def command(*arguments: str | Path, code: int) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "convnet_kafka", *map(str, arguments), "--server", stack.server_url],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return command


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_each_bad_file_is_named_and_the_good_ones_are_labelled(run: Command, digits: DigitsFolders, tmp_path: Path) -> None:
    good = sorted(digits.test.rglob("*.png"))[:3]
    folder = tmp_path / "mixed"
    (folder / "deep" / "Füße 🦶").mkdir(parents=True)
    long_name = "n" * 240 + ".png"
    files = {
        "good.png": good[0].read_bytes(),
        "wrong-extension.jpg": good[1].read_bytes(),
        "deep/Füße 🦶/猫.png": good[2].read_bytes(),
        long_name: good[0].read_bytes(),
        "zero.png": b"",
        "notes.png": b"these are only words, whatever the name says",
        "truncated.jpg": jpeg()[:-400],
        "bomb.png": png_header(50_000, 50_000),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)

    done = run("classify", folder, "--output", "labels.csv", code=1)

    found = rows(tmp_path / "labels.csv")
    assert found.keys() == files.keys()
    errors = {name: row["error"] for name, row in found.items() if row["error"]}
    assert errors == {"zero.png": "empty", "notes.png": "unsupported", "truncated.jpg": "undecodable", "bomb.png": "too-large"}
    assert all(found[name]["label"] for name in files.keys() - errors.keys())
    for name in errors:
        assert name in done.stdout + done.stderr
        assert len(found[name]["detail"]) > 10


def test_names_and_links_in_a_tar_are_only_names(run: Command, digits: DigitsFolders, tmp_path: Path) -> None:
    content = min(digits.test.rglob("*.png")).read_bytes()
    with tarfile.open(tmp_path / "odd.tar", "w") as archive:
        for name in ("../../etc/up.png", "/etc/absolute.png", "plain.png"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    run("classify", tmp_path / "odd.tar", "--output", "labels.csv", code=0)

    labelled = {name for name, row in rows(tmp_path / "labels.csv").items() if row["label"]}
    assert labelled == {"etc/up.png", "etc/absolute.png", "plain.png"}
    assert not (tmp_path.parent.parent / "etc").exists()


def test_an_empty_folder_is_said_before_anything_is_sent(run: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("classify", tmp_path / "empty", code=2)
    assert "empty" in done.stderr


def test_a_path_that_is_not_there_is_said(run: Command, tmp_path: Path) -> None:
    done = run("classify", tmp_path / "nowhere", code=2)
    assert "nowhere" in done.stderr


def test_an_unknown_job_is_said(run: Command) -> None:
    done = run("results", "AAAA" * 25, code=3)
    assert "no such job" in done.stderr


def test_a_server_that_is_not_there_is_said(tmp_path: Path, digits: DigitsFolders) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "convnet_kafka", "classify", str(digits.test), "--server", "http://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 3
    assert "http://127.0.0.1:9" in done.stderr
