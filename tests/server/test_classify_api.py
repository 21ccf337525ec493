"""`POST /v1/classify`: the answer in the response when it comes in time, else a job to fetch it from."""

from __future__ import annotations

import aiohttp
import pytest

from support.fake_classifier import FakeClassifier
from support.http import TAR, call, png, tar

IMAGE = {"Content-Type": "image/png"}


async def test_one_image_is_answered_with_its_label(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    answer = await call(http, "POST", "/v1/classify?name=x.png&timeout=20", 200, data=png("one"), headers=IMAGE)
    assert (answer["missing"], answer["problems"]) == ([], [])
    (label,) = answer["labels"]
    assert (label["name"], label["label"], label["lane"]) == ("x.png", "seven", "fast")
    assert (await call(http, "GET", f"/v1/jobs/{answer['job']}/labels", 200, params={"wait": "20"}))["labels"] == [label]


async def test_a_few_images_are_answered_together_and_what_is_no_picture_is_named(
    http: aiohttp.ClientSession, classifier: FakeClassifier
) -> None:
    images = {f"{number}.png": png(str(number)) for number in range(99)} | {"no.txt": b"text"}
    answer = await call(http, "POST", "/v1/classify?timeout=20", 200, data=tar(images), headers=TAR)
    assert len(answer["labels"]) == 99
    assert [(problem["name"], problem["code"]) for problem in answer["problems"]] == [("no.txt", "unsupported")]


async def test_the_same_image_twice_in_one_call_is_one_image(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    body = tar({"a.png": png("a")})[:1024] + tar({"a.png": png("a")})
    answer = await call(http, "POST", "/v1/classify?timeout=20", 200, data=body, headers=TAR)
    assert [label["name"] for label in answer["labels"]] == ["a.png"]


async def test_a_late_label_is_fetched_from_the_job(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    body = tar({"quick.png": png("quick"), "late.png": png("hold")})
    answer = await call(http, "POST", "/v1/classify?timeout=1", 202, data=body, headers=TAR)
    assert [label["name"] for label in answer["labels"]] == ["quick.png"]
    assert answer["missing"] == ["late.png"]
    classifier.release()
    path = f"/v1/jobs/{answer['job']}/labels"
    rest = await call(http, "GET", path, 200, params={"wait": "20", "cursor": answer["labels"][-1]["cursor"]})
    classifier.hold()
    assert [label["name"] for label in rest["labels"]] == ["late.png"]


async def test_an_error_is_a_result_too(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    answer = await call(http, "POST", "/v1/classify?timeout=20", 200, data=png("broken"), headers=IMAGE)
    assert answer["labels"][0]["error"] == "undecodable"


@pytest.mark.parametrize(
    ("status", "slug", "query", "body", "headers"),
    [
        (413, "too-large", "", tar({f"{number}.png": png("x") for number in range(101)}), TAR),
        (415, "unsupported", "", b"text", IMAGE),
        (415, "unsupported", "", b"{}", {"Content-Type": "application/json"}),
        (400, "bad-request", "?timeout=61", png("x"), IMAGE),
        (400, "bad-request", "", tar({"a.png": png("a")})[:700], TAR),
    ],
)
async def test_what_cannot_be_classified_is_a_problem(
    http: aiohttp.ClientSession, status: int, slug: str, query: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = await call(http, "POST", f"/v1/classify{query}", status, data=body, headers=headers)
    assert answer["type"] == f"/problems/{slug}"
