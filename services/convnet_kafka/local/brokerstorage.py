"""The data folder of a local Kafka before its first start: an empty one is given a cluster id, by Kafka's own tool."""

from __future__ import annotations

import base64
import re
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from convnet_kafka.errors import LocalStackError
from convnet_kafka.local import brokersettings
from convnet_kafka.local.java import Java

# As many of the lines below as an error message bears.
_QUOTED_LINES = 3
# Lines of Kafka's log and of the JVM's output that say why a start failed.
_SERIOUS = re.compile(r" (ERROR|FATAL) |Exception|Error|^Unrecognized|^Could not|^Improperly")


def prepare(folder: Path, java: Java, classes: Sequence[str], deadline_s: float) -> None:
    """Give an empty data folder its cluster id, once. Kafka's own tool does it: what it writes differs from version to version.

    Args:
        folder: the data folder, with its settings in it.
        java: runs the tool.
        classes: JVM flags that say where Kafka's classes are.
        deadline_s: seconds the tool may take.

    Raises:
        LocalStackError: the tool failed.
    """
    if (folder / brokersettings.KAFKA_FOLDER / "meta.properties").exists():
        return
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # C1 alone: for a program that lives half a second, compiling more costs more than it gives.
    argv = [str(java.executable), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xmx64m", *classes]
    # `=` before the id: it may begin with a minus. Formatted ones are ignored for the folder that a killed run left half done.
    argv += ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--ignore-formatted", "-c", brokersettings.PROPERTIES_FILE]
    try:
        subprocess.run(  # noqa: S603 - our own program
            argv, cwd=folder, check=True, timeout=deadline_s, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise LocalStackError(
            f"the Java at {java.executable} does not run on this machine ({error.strerror}); set JAVA_HOME to one that does"
        ) from error
    except subprocess.CalledProcessError as error:
        raise LocalStackError(f"could not format the data folder {folder}: {serious_lines(error.output) or 'it gave no reason'}") from error
    except subprocess.TimeoutExpired as error:
        raise LocalStackError(f"formatting the data folder {folder} took more than {deadline_s:.0f} s; try again") from error


def serious_lines(output: bytes) -> str:
    """The first lines that say what went wrong, in one: what follows them is consequence. Empty when there are none."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if _SERIOUS.search(line)]
    return " | ".join(lines[:_QUOTED_LINES])
