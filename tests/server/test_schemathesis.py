"""Schemathesis reads /openapi.json and tries to make the running service, on the real Kafka, break its word.

No 5xx but a declared 503, no status and no content type that is not described, no answer of another form than its model.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.server.auth import CALLS
from support.fake_classifier import FakeClassifier
from support.http import PNG, tar
from support.running_server import config
from support.server_process import ServerProcess
from support.waiting import until_ready

CHECKS = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
OPERATIONS = sorted(
    [*CALLS, ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/problems/{slug}")]
)
LINE_BYTES = 8000
# Longer than this nothing is waited for: what is tried is the form, not patience.
PATIENCE = {"wait": 0.05, "timeout": 0.3}

pictures = st.binary(max_size=200).flatmap(
    lambda tail: st.sampled_from([PNG + tail, PNG + b"broken" + tail, b"\xff\xd8\xff" + tail, tail, b"hello"])
)
members = st.dictionaries(st.text(min_size=1, max_size=20).filter(str.isprintable), pictures, max_size=5)
junk = st.binary(max_size=600)


def zipped(images: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in images.items():
            archive.writestr(name, content)
    return out.getvalue()


def whole_or_cut(archives: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return archives | st.tuples(archives, st.integers(0, 4000)).map(lambda both: both[0][: both[1]]) | junk


BODIES = {
    "image/*": pictures,
    "application/octet-stream": pictures,
    "application/x-tar": whole_or_cut(members.map(tar)),
    "application/gzip": whole_or_cut(members.map(tar).map(gzip.compress)),
    "application/zstd": whole_or_cut(members.map(tar)),
    "application/zip": whole_or_cut(members.map(zipped)),
}
for name, strategy in BODIES.items():
    schemathesis.openapi.media_type(name, strategy)


@pytest.fixture(scope="module")
def service(broker: LocalBroker, prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = config(tmp_path_factory.mktemp("schema"), broker.bootstrap_servers, prefix, kafka={"max_image_bytes": 100_000})
    with ServerProcess(settings) as running, FakeClassifier(broker.bootstrap_servers, prefix):
        running.wait()
        until_ready(running.url)
        yield running.url


def fuzz(url: str, method: str, path: str, examples: int, document: dict[str, Any] | None = None) -> set[int]:
    """Try a call with good and bad input against what the service says of itself, or another document; returns the statuses it answered."""
    found: set[int] = set()
    session = requests.Session()
    document = document or session.get(f"{url}/openapi.json", timeout=20).json()
    operation = schemathesis.openapi.from_dict(document)[path][method]

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE), job=st.booleans())
    def attempt(case: Case, *, job: bool) -> None:
        if job and "job" in (case.path_parameters or {}):
            case.path_parameters["job"] = session.post(f"{url}/v1/jobs", timeout=20).json()["job"]
        query: dict[str, Any] = case.query or {}
        for name, most in PATIENCE.items():
            with contextlib.suppress(ValueError, TypeError):
                query[name] = min(float(query.get(name, most)), most) if name in query else query.pop(name, None)
            if query.get(name, 0) is None:
                del query[name]
        # A longer line is no HTTP for the server: it is answered before any call is looked for.
        assume(len(case.as_transport_kwargs(base_url=url)["url"]) + len(urlencode(query, doseq=True)) < LINE_BYTES)
        response = case.call(base_url=url, session=session, timeout=60)
        found.add(response.status_code)
        assert response.status_code < 500 or response.status_code == 503, response.text
        case.validate_response(response, checks=CHECKS)

    attempt()
    return found


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS])
def test_the_service_keeps_to_its_description(service: str, method: str, path: str) -> None:
    found = fuzz(service, method, path, 40)
    print(method, path, sorted(found))
    assert min(found) < 300


@pytest.mark.parametrize("lie", ["status", "form", "header"])
def test_a_description_that_lies_is_noticed(service: str, lie: str) -> None:
    document = requests.get(f"{service}/openapi.json", timeout=20).json()
    answers = document["paths"]["/v1/jobs"]["post"]["responses"]
    if lie == "status":
        answers["200"] = answers.pop("201")
    elif lie == "form":
        document["components"]["schemas"]["OpenedJob"]["properties"]["job"] = {"type": "integer"}
    else:
        answers["201"]["headers"] = {"X-Promised": {"required": True, "schema": {"type": "string"}}}
    with pytest.raises(FailureGroup):
        fuzz(service, "POST", "/v1/jobs", 2, document)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS])
def test_the_service_keeps_to_its_description_for_long(service: str, method: str, path: str) -> None:
    assert min(fuzz(service, method, path, 500)) < 300
