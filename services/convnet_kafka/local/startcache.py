"""Kafka's classes as Java's ahead-of-time cache keeps them (JEP 483, 514 and 515): with it a broker's start takes half the processor time.

Made once for a Java and its jars, beside the jars, from a broker that starts and ends. Java itself checks that it fits, and starts
without it where it does not; so does a broker whose jars lie where nothing can be written.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from convnet_kafka.errors import LocalStackError
from convnet_kafka.local.java import Java

# The first whose cache also holds profiles of methods, and that makes it in one step.
_FIRST_JAVA = 25
_ASIDE_PREFIX = ".preparing-"


def flags(java: Java, jars: Sequence[Path], run: Callable[[str], None], console: Console) -> list[str]:
    """JVM flags that use the cache, which is made first if there is none; none where there can be no cache.

    Args:
        java: the runtime.
        jars: Kafka's own, in the order of the class path; more may follow them there.
        run: starts and ends a broker with one more JVM flag.
        console: told that the cache is being made.
    """
    if java.major < _FIRST_JAVA:
        return []
    cache = jars[0].parent / f"start-{_key(java, jars)}.aot"
    if not cache.exists() and os.access(cache.parent, os.W_OK):
        console.print("Preparing Kafka for quick starts, once: some seconds")
        _make(cache, run)
    return [f"-XX:AOTCache={cache}"] if cache.exists() and cache.stat().st_size else []


def _make(cache: Path, run: Callable[[str], None]) -> None:
    """Leaves an empty file where it cannot be made, so that not each start tries again; nothing where not even that can be written."""
    with suppress(OSError), tempfile.TemporaryDirectory(dir=cache.parent, prefix=_ASIDE_PREFIX) as aside:
        made = Path(aside) / cache.name
        try:
            run(f"-XX:AOTCacheOutput={made}")
        except LocalStackError:
            made.unlink(missing_ok=True)  # what is wrong with Kafka here is told by the start that follows
        if not made.exists():
            made.touch()
        made.replace(cache)


def _key(java: Java, jars: Sequence[Path]) -> str:
    """Another Java, other jars, or the same elsewhere: another cache."""
    release = java.executable.resolve().parent.parent / "release"
    text = "\n".join([str(java.executable.resolve()), release.read_text(encoding="utf-8"), *map(str, jars)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
