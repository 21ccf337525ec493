"""What a multipart body is taken apart into, however it is cut, and that damage is told and never a crash."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from convnet_kafka.server.members import BodyError, Image
from convnet_kafka.server.multipart import MultipartParser, boundary_of
from convnet_kafka.server.outcome import Refusal, RefusalCode
from convnet_kafka.server.problems import Problem
from support.http import png

LIMIT = 10_000
BOUNDARY = "----WebKitFormBoundaryAbC123"


def part(content: bytes, disposition: str | bytes = 'name="images"; filename="a.png"', *headers: str) -> bytes:
    said = disposition if isinstance(disposition, bytes) else disposition.encode()
    lines = [b"Content-Disposition: form-data; " + said, *(header.encode() for header in headers)]
    return b"--" + BOUNDARY.encode() + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + content + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY.encode() + b"--\r\n"


def parse(data: bytes, chunks: Iterator[bytes] | None = None, most: int = 1000) -> list[Image | Refusal]:
    parser = MultipartParser(BOUNDARY, LIMIT, most)
    found = [item for chunk in (chunks or iter([data])) for item in parser.feed(chunk)]
    parser.finish()
    assert parser.held == 0
    return found


def cut(data: bytes, generator: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = generator.choice([1, 2, 7, 100, 1000, 5000])
        yield data[at : at + size]
        at += size


def test_files_are_named_by_their_file_name_else_by_their_field() -> None:
    found = parse(
        body(
            part(png("1"), 'name="images"; filename="train/ä 1.png"', "Content-Type: image/png"),
            part(png("2"), 'name="second.png"', "Content-Type: image/png"),
            part(png("3"), 'name="third.png"'),
            part(png("4"), 'name="fourth.png"; filename=""'),
        )
    )
    assert found == [
        ("train/ä 1.png", png("1")),
        ("second.png", png("2")),
        ("third.png", png("3")),
        ("fourth.png", png("4")),
    ]


def test_text_fields_and_fields_without_a_no_file_file_are_passed_over() -> None:
    data = body(
        part(b"hello", 'name="comment"'), part(b"", 'name="f"; filename=""', "Content-Type: application/octet-stream"), part(png("1"))
    )
    assert parse(data) == [("a.png", png("1"))]


def test_names_are_data() -> None:
    names = ["../../etc/passwd", "a\\b.png", "日本\u202e.png", "a;b=c.png", "%2e%2e/x.png", "<script>.png"]
    assert [item[0] for item in parse(body(*(part(png("x"), f'name="f"; filename="{name}"') for name in names)))] == names
    # As browsers write what cannot stand between quotes; nothing of it reaches a header.
    assert parse(body(part(png("x"), 'name="f"; filename="a%22%0D%0ASet-Cookie: x"')))[0][0] == 'a"\r\nSet-Cookie: x'
    assert parse(body(part(png("x"), b'name="f"; filename="caf\xe9.png"')))[0][0] == "caf\ufffd.png"


def test_what_cannot_be_an_image_is_refused_by_name_and_the_rest_goes_on() -> None:
    found = parse(
        body(
            part(b"", 'name="f"; filename="empty.png"'),
            part(png("x" * LIMIT), 'name="f"; filename="big.png"'),
            part(png("x"), f'name="f"; filename="{"n" * 1025}"'),
            part(png("x"), 'name="f"; filename="nul\0.png"'),
            part(b"", 'name="none.png"', "Content-Type: image/png"),
            part(png("good")),
        )
    )
    assert [item.code for item in found if isinstance(item, Refusal)] == [
        RefusalCode.EMPTY,
        RefusalCode.TOO_LARGE,
        RefusalCode.BAD_NAME,
        RefusalCode.BAD_NAME,
        RefusalCode.EMPTY,
    ]
    assert found[-1] == ("a.png", png("good"))


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_gives_the_same(seed: int) -> None:
    generator = random.Random(seed)
    images = [png("x") + generator.randbytes(generator.choice([0, 1, 50, 3000])) + b"\r\n--" + BOUNDARY[:9].encode() for _ in range(20)]
    data = b"preamble\r\n" + body(*(part(content, f'name="f"; filename="{number}"') for number, content in enumerate(images))) + b"epilogue"
    assert parse(data, cut(data, generator)) == [(str(number), content) for number, content in enumerate(images)]


def test_what_has_come_of_an_image_is_told() -> None:
    parser = MultipartParser(BOUNDARY, LIMIT, 9)
    assert list(parser.feed(part(png("x" * 5000))[:3000])) == []
    assert 2000 < parser.held <= 3000
    assert list(parser.feed(part(png("y" * 50_000)))) == []
    assert parser.held == 0, "what is refused is thrown away as it comes"


@pytest.mark.parametrize("left", [1, 30, 60, 100])
def test_a_body_that_is_cut_off_is_no_whole_one(left: int) -> None:
    data = body(part(png("x")), part(png("y")))
    with pytest.raises(BodyError, match="cut off"):
        parse(data[: len(data) - 4 - left])


def test_too_many_parts_and_a_header_without_end_are_stopped() -> None:
    with pytest.raises(Problem, match="more than 3 parts"):
        parse(body(*[part(b"x", 'name="text"')] * 4), most=3)
    with pytest.raises(BodyError, match="header is too long"):
        parse(body(part(png("x"), f'name="f"; filename="{"n" * 1_000_000}"')))


@pytest.mark.parametrize("seed", range(100))
def test_random_damage_never_crashes_the_parser(seed: int) -> None:
    generator = random.Random(seed)
    data = bytearray(body(*(part(png("x" * 20), f'name="f"; filename="{number}"', "Content-Length: 28") for number in range(5))))
    for _ in range(generator.randint(1, 10)):
        at = generator.randrange(len(data))
        data[at : at + generator.randint(0, 3)] = generator.randbytes(generator.randint(0, 3))
    with suppress(BodyError):
        assert len(parse(bytes(data), cut(bytes(data), generator))) <= 6


@pytest.mark.parametrize("said", ["", "; boundary=", '; boundary=""', f"; boundary={'b' * 71}", "; boundary=ä", '; boundary="a\tb"'])
def test_a_boundary_that_cannot_be_one_is_told_before_the_body_is_read(said: str) -> None:
    with pytest.raises(Problem, match="boundary") as caught:
        boundary_of("multipart/form-data" + said)
    assert caught.value.status == 400
    assert boundary_of('Multipart/Form-Data; charset=x; Boundary="a b"') == "a b"
