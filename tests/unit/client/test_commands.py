"""`classify` and `results` as a user types them: what they print, what they write, and how they end."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from convnet_kafka.client.output import COLUMNS
from convnet_kafka.client.tarstream import END, member
from support.fake_server import FakeJob, FakeServer
from support.misbehaviour import Upload
from support.waiting import until

Pictures = Callable[..., Path]
Command = Callable[..., object]


@pytest.fixture
def mixed(pictures: Pictures) -> Path:
    """30 pictures, one that no classifier can decode, one that is none, and one with an awkward name."""
    folder = pictures(30)
    (folder / "bad.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_bytes(b"hello")
    (folder / 'é, "quoted"\n[red]markup.png').write_bytes(b"\x89PNG quoted")
    return folder


def test_all_labelled_ends_with_0_and_prints_a_table(server: FakeServer, pictures: Pictures, command: Command) -> None:
    ran = command("classify", pictures(30), "--server", server.url)
    assert ran.code == 0
    assert "seven" in ran.out
    assert "50.0%" in ran.out
    assert "30 images in" in ran.out


def test_a_single_picture_is_shown_with_its_label(server: FakeServer, pictures: Pictures, command: Command) -> None:
    ran = command("classify", pictures(3) / "0001.png", "--server", server.url)
    assert [line.split() for line in ran.out.splitlines() if "0001" in line] == [["0001.png", "seven", "50.0%"]]


def test_failures_are_named_and_end_with_1(server: FakeServer, mixed: Path, command: Command) -> None:
    ran = command("classify", mixed, "--server", server.url)
    assert ran.code == 1
    assert "bad.png: undecodable: broken" in ran.out
    assert "notes.txt: unsupported: not a picture" in ran.out


def test_names_cannot_play_with_the_terminal(server: FakeServer, pictures: Pictures, command: Command) -> None:
    folder = pictures(1)
    (folder / "\x1b[2Jwiped\u202e.png").write_bytes(b"\x89PNG wiped")
    (folder / "\x1b]0;bad[bold].png").write_bytes(b"\x89PNG")
    ran = command("classify", folder, "--server", server.url)
    assert "\\x1b[2Jwiped\\u202e.png" in ran.out
    assert "\\x1b]0;bad[bold].png: undecodable" in ran.out
    assert "\x1b" not in ran.out


def test_many_failures_are_cut_on_the_screen_and_whole_in_the_file(
    server: FakeServer, tmp_path: Path, pictures: Pictures, command: Command
) -> None:
    folder = pictures(0)
    for number in range(50):
        (folder / f"{number}.txt").write_bytes(b"hello")
    ran = command("classify", folder, "--server", server.url, "--output", tmp_path / "labels.csv")
    assert ran.out.count("not a picture") == 20
    assert "and 30 more (in all: 50 unsupported)" in ran.out
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 51


def test_csv_has_every_image_once_sorted_by_name(server: FakeServer, mixed: Path, tmp_path: Path, command: Command) -> None:
    command("classify", mixed, "--server", server.url, "--output", tmp_path / "labels.csv", "--quiet")
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS == ("name", "label", "confidence", "error", "detail", "model", "revision", "image", "top")
    names = [row["name"] for row in rows]
    assert names == sorted(path.name for path in mixed.iterdir())
    assert {row["name"]: row["error"] for row in rows if row["error"]} == {"bad.png": "undecodable", "notes.txt": "unsupported"}
    assert rows[0]["label"] == "seven"
    assert float(rows[0]["confidence"]) == 0.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "pictures"]


def test_jsonl_is_one_object_a_line(server: FakeServer, mixed: Path, tmp_path: Path, command: Command) -> None:
    command("classify", mixed, "--server", server.url, "--output", tmp_path / "labels.jsonl")
    rows = [orjson.loads(line) for line in (tmp_path / "labels.jsonl").read_bytes().splitlines()]
    assert len(rows) == 33
    assert tuple(rows[0]) == COLUMNS


def test_parquet_has_types(server: FakeServer, mixed: Path, tmp_path: Path, command: Command) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    command("classify", mixed, "--server", server.url, "--output", tmp_path / "labels.parquet")
    rows = parquet.read_table(tmp_path / "labels.parquet").to_pylist()
    assert len(rows) == 33
    assert rows[0] == {**rows[0], "name": "0000.png", "label": "seven", "confidence": 0.5, "model": 3, "error": None}


def test_parquet_without_pyarrow_is_told_before_anything_is_sent(
    server: FakeServer, pictures: Pictures, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = command("classify", pictures(1), "--server", server.url, "--output", "labels.parquet")
    assert (ran.code, server.requests) == (2, {})
    assert "pip install 'convnet-kafka[parquet]'" in ran.err


@pytest.mark.parametrize("place", ["nowhere/labels.csv", "labels.txt", "."])
def test_an_impossible_output_is_told_before_anything_is_sent(
    server: FakeServer, pictures: Pictures, tmp_path: Path, command: Command, place: str
) -> None:
    ran = command("classify", pictures(1), "--server", server.url, "--output", tmp_path / place)
    assert (ran.code, server.requests) == (2, {})
    assert str(tmp_path) in ran.err


def test_folder_and_server_may_come_from_the_environment(
    server: FakeServer, pictures: Pictures, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMG_DIR", str(pictures(3)))
    monkeypatch.setenv("SERVER_URL", server.url)
    assert command("classify", "--quiet").code == 0
    assert len(server.job.images) == 3


def test_quiet_prints_nothing(server: FakeServer, pictures: Pictures, command: Command) -> None:
    ran = command("classify", pictures(3), "--server", server.url, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_nothing_to_send_ends_with_2_and_says_where(server: FakeServer, tmp_path: Path, command: Command) -> None:
    for path, words in ((tmp_path, "no files to send in"), (tmp_path / "nowhere", "there is no file or folder")):
        ran = command("classify", path, "--server", server.url)
        assert ran.code == 2
        assert words in ran.err
        assert str(path) in ran.err
    assert command("classify").code == 2


def test_a_server_that_is_not_there_ends_with_3_and_says_what_to_do(server: FakeServer, pictures: Pictures, command: Command) -> None:
    server.stop()
    ran = command("classify", pictures(3), "--server", server.url)
    assert ran.code == 3
    assert "Connection refused" in ran.err
    assert server.url in ran.err
    assert "convnet-kafka up" in ran.err


def test_a_server_that_goes_away_for_good_names_the_job(server: FakeServer, pictures: Pictures, command: Command) -> None:
    server.every_upload = Upload(status=503)
    ran = command("classify", pictures(3), "--server", server.url, "--timeout", "0")
    assert ran.code == 3
    assert f"convnet-kafka results job-1 --server {server.url}" in ran.err
    assert "--job job-1" in ran.err


def test_results_of_an_earlier_job(server: FakeServer, mixed: Path, tmp_path: Path, command: Command) -> None:
    command("classify", mixed, "--server", server.url)
    ran = command("results", "job-1", "--server", server.url, "--output", tmp_path / "labels.csv")
    assert ran.code == 1
    assert "bad.png: undecodable" in ran.out
    assert "32 of 32 images have their result" in ran.out
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 34  # one name has a line break in it


def test_results_take_the_highest_revision(server: FakeServer, mixed: Path, command: Command) -> None:
    (mixed / "notes.txt").unlink()
    command("classify", mixed, "--server", server.url)
    server.replay("bad.png")
    until(lambda: len(server.job.lines) == 33)
    ran = command("results", "job-1", "--server", server.url)
    assert (ran.code, "bad.png" in ran.out) == (0, False)


def test_results_of_an_open_job_without_waiting(server: FakeServer, pictures: Pictures, command: Command) -> None:
    command("classify", pictures(5), "--server", server.url)
    server.job.closes.clear()
    ran = command("results", "job-1", "--server", server.url, "--no-wait")
    assert ran.code == 1
    assert "5 images have a result, the job is not closed yet" in ran.out


def test_results_of_an_unknown_job(server: FakeServer, command: Command) -> None:
    ran = command("results", "forged/../job", "--server", server.url)
    assert ran.code == 3
    assert "there is no such job" in ran.err


def events(err: str) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in err.splitlines()]


def test_json_is_outcomes_on_stdout_and_how_it_ended_on_stderr(server: FakeServer, mixed: Path, command: Command) -> None:
    ran = command("classify", mixed, "--server", server.url, "--json")
    rows = [orjson.loads(line) for line in ran.out.splitlines()]
    assert sorted(row["name"] for row in rows) == sorted(path.name for path in mixed.iterdir())
    assert {row["name"]: row["error"] for row in rows if row["error"]} == {"bad.png": "undecodable", "notes.txt": "unsupported"}
    (end,) = events(ran.err)
    assert (end["event"], end["job"], end["exit_code"], end["labelled"], end["failed"]) == ("end", "job-1", 1, 31, 2)
    ran = command("results", "job-1", "--server", server.url, "--json", "--failed")
    assert [orjson.loads(line)["name"] for line in ran.out.splitlines()] == ["bad.png"]
    assert events(ran.err)[-1]["event"] == "end"


def test_results_may_be_filtered(server: FakeServer, mixed: Path, tmp_path: Path, command: Command) -> None:
    command("classify", mixed, "--server", server.url)
    ran = command("results", "job-1", "--server", server.url, "--failed", "--output", tmp_path / "failed.csv")
    assert (ran.code, "1 are shown" in ran.out) == (0, True)
    assert len((tmp_path / "failed.csv").read_text().splitlines()) == 2
    assert "31 are shown" in command("results", "job-1", "--server", server.url, "--below", "0.6").out
    assert command("results", "job-1", "--server", server.url, "--below", "60").code == 2


def test_status_and_cancel_of_a_job(server: FakeServer, command: Command) -> None:
    lines = [{"image": str(number), "name": f"{number}.png", "label": "seven", "revision": 0} for number in range(3)]
    server.jobs["job-1"] = FakeJob({str(number): f"{number}.png" for number in range(5)}, lines, [5])
    ran = command("status", "job-1", "--server", server.url)
    assert ran.code == 0
    said = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines()}
    assert (said["state"], said["images"], said["labelled"], said["failed"], said["waiting"]) == (["closed"], ["5"], ["3"], ["0"], ["2"])
    assert orjson.loads(command("status", "job-1", "--server", server.url, "--json").out)["labelled"] == 3
    ran = command("cancel", "job-1", "--server", server.url)
    assert (ran.code, "cancelled" in ran.out) == (0, True)
    assert [line["error"] for line in server.job.lines if "error" in line] == ["cancelled"] * 2
    for name in ("status", "cancel"):
        ran = command(name, "forged", "--server", server.url)
        assert (ran.code, "there is no such job" in ran.err) == (3, True)


def test_a_deadline_ends_with_124_and_says_how_to_go_on(server: FakeServer, pictures: Pictures, command: Command) -> None:
    server.label = lambda name: False
    ran = command("classify", pictures(5), "--server", server.url, "--deadline", "2")
    assert ran.code == 124
    assert "5 images are accepted" in ran.err
    assert f"convnet-kafka results job-1 --server {server.url}" in ran.err
    assert server.job.closes == [5]


def test_strictly_a_file_that_cannot_be_read_ends_with_2(server: FakeServer, pictures: Pictures, command: Command) -> None:
    folder = pictures(3)
    (folder / "gone.png").symlink_to(folder / "nothing")
    assert command("classify", folder, "--server", server.url).code == 1
    ran = command("classify", folder, "--server", server.url, "--strict")
    assert (ran.code, "gone.png cannot be sent" in ran.err) == (2, True)
    assert command("classify", folder, folder / "nowhere", "--server", server.url).code == 1
    assert command("classify", folder, folder / "nowhere", "--server", server.url, "--strict").code == 2


def run_command(*arguments: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "convnet_kafka", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)


def test_a_tar_may_come_on_standard_input(server: FakeServer, tmp_path: Path) -> None:
    archive = b"".join(member(f"{number}.png", b"\x89PNG in a tar" + str(number).encode()) for number in range(30)) + END
    done = run_command("classify", "-", "--server", server.url, "--json", data=archive)
    assert done.returncode == 0, done.stderr
    assert sorted(orjson.loads(line)["name"] for line in done.stdout.splitlines()) == sorted(f"{number}.png" for number in range(30))


def test_a_reader_that_goes_away_ends_the_command_and_closes_the_job(server: FakeServer, pictures: Pictures) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "convnet_kafka", "classify", str(pictures(1000)), "--server", server.url, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert server.job.closes[-1] == len(server.job.images) > 0
    assert b"Traceback" not in errors


def test_a_page_shows_pictures_by_class_and_escapes_what_names_hold(
    server: FakeServer, pictures: Pictures, tmp_path: Path, command: Command
) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = pictures(0)
    for number in range(20):
        image.new("RGB", (40, 30), (number * 6, 90, 200)).save(folder / f"{number:02d}.png")
    image.new("RGB", (900, 600), (9, 90, 200)).save(folder / "<script>alert(1)<script>.png")
    image.new("RGB", (9, 6), (9, 90, 200)).save(folder / "\u202egnp.exe.png")
    (folder / "bad<b>.png").write_bytes(b"\x89PNG")
    page = tmp_path / "report.html"
    ran = command("classify", folder, "--server", server.url, "--report", page)
    assert (ran.code, f"written to {page}" in ran.out) == (1, True)
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 2 * 22  # all of the class, and as the least sure
    assert "data:image/webp;base64," in text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text
    assert "bad&lt;b&gt;.png" in text
    assert "undecodable" in text
    assert "job-1" not in text
    assert len(text) < 300_000


@pytest.mark.parametrize("name", ["report.pdf", "nowhere/report.html"])
def test_an_impossible_page_is_told_before_anything_is_sent(
    server: FakeServer, pictures: Pictures, tmp_path: Path, command: Command, name: str
) -> None:
    ran = command("classify", pictures(1), "--server", server.url, "--report", tmp_path / name)
    assert (ran.code, server.requests) == (2, {})


def test_a_page_without_pillow_is_told_before_anything_is_sent(
    server: FakeServer, pictures: Pictures, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = command("classify", pictures(1), "--server", server.url, "--report", tmp_path / "report.html")
    assert (ran.code, server.requests) == (2, {})
    assert "pip install 'convnet-kafka[report]'" in ran.err


@pytest.mark.parametrize(("number", "busy"), [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGINT, True)])
def test_an_interrupt_closes_the_job_with_what_was_accepted_and_says_how_to_go_on(
    server: FakeServer, pictures: Pictures, number: signal.Signals, busy: bool
) -> None:
    server.label = lambda name: False
    folder = pictures(600)
    if busy:
        # One request goes through; the others are asked to come again in a minute.
        server.uploads.append(Upload())
        server.on_upload = lambda: setattr(server, "every_upload", None if server.uploads else Upload(503, {"Retry-After": "60"}))
    child = subprocess.Popen(
        [sys.executable, "-m", "convnet_kafka", "classify", str(folder), "--server", server.url],
        env={**os.environ, "COLUMNS": "300"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: server.requests["upload"] >= 2 if busy else server.requests["close"])
    child.send_signal(number)
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 130, errors
    accepted = len(server.job.images)
    assert server.job.closes[-1] == accepted > 0
    assert f"stopped: {accepted:,} images are accepted" in errors
    assert f"\n  convnet-kafka results job-1 --server {server.url}\n" in errors
