"""docs/client.md: its examples run as they stand, and it explains every error of the library."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convnet_kafka import client
from convnet_kafka.client.tarstream import END, member
from convnet_kafka.errors import ConvnetKafkaError
from support.fake_server import FakeServer

TEXT = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_as_it_stands(number: int, server: FakeServer, pictures: Callable[..., Path]) -> None:
    folder = pictures(5).parent
    (folder / "more.tar").write_bytes(member("more/1.png", PNG + b"more") + END)
    (folder / "one.jpg").write_bytes(PNG + b"one")
    code = EXAMPLES[number].replace("http://127.0.0.1:8080", server.url)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert len(server.job.images) >= 5


def test_every_error_of_the_library_is_explained() -> None:
    values = {name: getattr(client, name) for name in client.__all__}
    errors = {name for name, value in values.items() if isinstance(value, type) and issubclass(value, ConvnetKafkaError)}
    assert len(errors) > 8
    assert {name for name in errors if f"`{name}`" not in TEXT} == set()
