"""Kafka's jars in a per-user cache: fetched once, in parallel, and checked by SHA-256 each time they are used.

A file stands under its final name only when it is whole and right: it is fetched aside and renamed, so two processes may
fetch at once and a broken download or a damaged file is simply fetched again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import platformdirs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from convnet_kafka.errors import LocalStackError
from convnet_kafka.local.kafkajars import KAFKA_JARS, KAFKA_VERSION, Jar

# Reports bytes as they arrive.
Advance = Callable[[int], None]
# Fetches one jar into an empty folder, reporting bytes, and returns the file. Raises OSError or RuntimeError when it cannot.
Fetch = Callable[[Jar, Path, Advance], Path]

# 38 MB in 34 files: past 8 at once the largest jar alone decides the time.
_PARALLEL = 8
# A connection that breaks now and then is normal on a laptop; a repository that is really away fails three times quickly.
_ATTEMPTS = 3
# Seconds without a byte before a download counts as broken.
_TIMEOUT_S = 30
# Partial downloads live in folders of this name beside the finished files, so that the rename stays on one file system.
_ASIDE_PREFIX = ".fetching-"


def default_cache_dir() -> Path:
    """The folder of this Kafka version's jars in the user's cache directory (`XDG_CACHE_HOME` moves it)."""
    return platformdirs.user_cache_path("convnet-kafka") / f"kafka-{KAFKA_VERSION}"


def fetch_with_jgo(jar: Jar, folder: Path, advance: Advance) -> Path:
    """Take a jar from the user's own Maven repository if it is there, else download it through jgo.

    Args:
        jar: what to fetch.
        folder: an empty folder to fetch into.
        advance: told the number of bytes as they arrive.

    Returns:
        The fetched file, unchecked.

    Raises:
        OSError: the network or the disk failed.
        RuntimeError: the repository does not have the file.
    """
    # Imported here: jgo is needed once per machine, and a start from the cache should not pay for it.
    from jgo.constants import default_maven_repo  # noqa: PLC0415
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    context = MavenContext(repo_cache=folder, timeout=_TIMEOUT_S, resolver=PythonResolver(progress_callback=_jgo_progress(advance)))
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    mine = Path(default_maven_repo()) / artifact.component.path_prefix / jar.file_name
    if _is_good(mine, jar):
        advance(jar.size)
        return Path(shutil.copyfile(mine, folder / jar.file_name))
    return Path(artifact.resolve())


def _jgo_progress(advance: Advance) -> Callable[[str, int], AbstractContextManager[Advance]]:
    """Wrap `advance` as the context manager per file that jgo asks for."""

    @contextmanager
    def progress(_file_name: str, _total: int) -> Iterator[Advance]:
        yield advance

    return progress


def ensure_jars(
    *, cache_dir: Path | None = None, jars: Sequence[Jar] = KAFKA_JARS, fetch: Fetch = fetch_with_jgo, console: Console | None = None
) -> list[Path]:
    """Return checked paths of all jars, fetching those that are missing or damaged.

    Args:
        cache_dir: where the jars live; the user's cache directory by default.
        jars: what must be there.
        fetch: how to get one; replaced in tests.
        console: where progress is shown; stderr by default. A bar on a terminal, one plain line elsewhere.

    Raises:
        LocalStackError: the folder cannot be written, or a jar could not be fetched.
    """
    folder = cache_dir if cache_dir is not None else default_cache_dir()
    missing = [jar for jar in jars if not _is_good(folder / jar.file_name, jar)]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch_all(missing, folder, fetch, console if console is not None else Console(file=sys.stderr))
        except PermissionError as error:
            raise LocalStackError(
                f"the cache folder {folder} for Kafka's jars cannot be written ({error.strerror}); "
                "make it writable or set XDG_CACHE_HOME to a folder that is"
            ) from error
    return [folder / jar.file_name for jar in jars]


def _is_good(path: Path, jar: Jar) -> bool:
    """Say whether a file is the pinned jar: the size first, then the digest (about 40 ms for all 38 MB)."""
    try:
        if path.stat().st_size != jar.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _fetch_all(jars: Sequence[Jar], folder: Path, fetch: Fetch, console: Console) -> None:
    with _progress(jars, folder, console) as advance, ThreadPoolExecutor(_PARALLEL, thread_name_prefix="fetch-jar") as pool:
        # The largest first, so that no big one is left to end alone.
        futures = [pool.submit(_fetch_one, jar, folder, fetch, advance) for jar in sorted(jars, key=lambda jar: -jar.size)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(jar: Jar, folder: Path, fetch: Fetch, advance: Advance) -> None:
    """Fetch one jar aside, check it, and rename it into place.

    Raises:
        LocalStackError: three attempts failed, or the repository serves another file than the pinned one.
    """
    problem = "no attempt was made"
    for _ in range(_ATTEMPTS):
        with tempfile.TemporaryDirectory(dir=folder, prefix=_ASIDE_PREFIX) as aside:
            try:
                fetched = fetch(jar, Path(aside), advance)
            except PermissionError:
                raise
            except (OSError, RuntimeError) as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if _is_good(fetched, jar):
                os.replace(fetched, folder / jar.file_name)  # noqa: PTH105 - atomic over an existing file, as the comment above says
                return
            problem = "the file that came does not have the pinned SHA-256"
    raise LocalStackError(
        f"could not fetch {jar.file_name} for the local Kafka {KAFKA_VERSION} ({problem}); connect to the internet and try again "
        "(finished files are kept), or set KAFKA_BOOTSTRAP_SERVERS to use a Kafka you have"
    )


@contextmanager
def _progress(jars: Sequence[Jar], folder: Path, console: Console) -> Iterator[Advance]:
    """Show how far the fetch is: a bar on a terminal, one line elsewhere."""
    total = sum(jar.size for jar in jars)
    if not console.is_terminal:
        console.print(
            f"Fetching Apache Kafka {KAFKA_VERSION} once: {len(jars)} files, {total / 1e6:.0f} MB, into {folder}",
            soft_wrap=True,
            highlight=False,
        )
        yield lambda _count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    lock = threading.Lock()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"Fetching Apache Kafka {KAFKA_VERSION}", total=total)

        def advance(count: int) -> None:
            with lock:
                bar.advance(task, count)

        yield advance
