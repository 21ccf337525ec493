"""The tar parser gives what the standard library's tarfile gives, however the archive was written and however it is cut."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator

import pytest

from convnet_kafka.server.members import BodyError, Image
from convnet_kafka.server.outcome import Refusal, RefusalCode
from convnet_kafka.server.tar import MAX_META_BYTES, TarParser

LIMIT = 50_000
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
Members = list[tuple[tarfile.TarInfo, bytes]]


def file(name: str, content: bytes, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(members: Members, kind: int = tarfile.PAX_FORMAT, **options: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind, **options) as tar:  # type: ignore[call-overload]
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def cut(data: bytes, source: random.Random) -> Iterator[bytes]:
    at = 0
    longest = source.choice([1, 7, 511, 513, 4096, 1 << 20])
    while at < len(data):
        step = source.randint(1, longest)
        yield data[at : at + step]
        at += step


def parse(data: bytes, chunks: Iterator[bytes] | None = None, limit: int = LIMIT) -> list[Image | Refusal]:
    parser = TarParser(limit)
    found = [member for chunk in (chunks or iter([data])) for member in parser.feed(chunk)]
    parser.finish()
    return found


def expected(data: bytes) -> list[tuple[str, bytes]]:
    """What tarfile, the oracle, says are the files with content of at most LIMIT bytes."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="replace") as tar:
        files = [info for info in tar if info.isfile() and 0 < info.size <= LIMIT]
        return [(info.name, tar.extractfile(info).read()) for info in files]  # type: ignore[union-attr]


def random_members(source: random.Random, kind: int) -> Members:
    words = ["a", "train", "7", "ß", "日本", "..", "x" * 40, "😀", "-rf", " ", "\\"]
    members: Members = []
    for number in range(source.randint(1, 12)):
        longest = 3 if kind == tarfile.USTAR_FORMAT else 12
        name = "/".join(source.choices(words, k=source.randint(1, longest))) + f"{number}.png"
        size = source.choice([0, 1, 511, 512, 513, 700, 5000, LIMIT, LIMIT + 1])
        kinds = [tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.AREGTYPE]
        chosen = source.choice(kinds)
        if chosen == tarfile.AREGTYPE and len(name.encode()) > 99:
            chosen = tarfile.REGTYPE  # tarfile takes it for a directory when the cut-off name ends in a slash; we go by the whole name
        content = source.randbytes(size) if chosen in {tarfile.REGTYPE, tarfile.AREGTYPE} else b""
        linkname = "t" * source.choice([1, 150]) if chosen in {tarfile.SYMTYPE, tarfile.LNKTYPE} and kind != tarfile.USTAR_FORMAT else ""
        members.append(file(name, content, type=chosen, linkname=linkname, mtime=source.choice([0, 1_700_000_000, 1_700_000_000.5])))
    return members


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("kind", FORMATS)
def test_random_archives_in_random_pieces_give_what_tarfile_gives(kind: int, seed: int) -> None:
    source = random.Random(seed)
    members = [
        (info, content) for info, content in random_members(source, kind) if kind != tarfile.USTAR_FORMAT or len(info.name.encode()) < 99
    ]
    for info, _ in members:
        if kind == tarfile.USTAR_FORMAT:
            info.mtime = int(info.mtime)
    options: dict[str, object] = {"pax_headers": {"comment": "for all"}} if kind == tarfile.PAX_FORMAT and seed % 2 else {}
    data = archive(members, kind, **options)
    found = parse(data, cut(data, source))
    assert [item for item in found if not isinstance(item, Refusal)] == expected(data)
    refused = [info.name for info, content in members if len(content) > LIMIT or (info.type != tarfile.DIRTYPE and not content)]
    assert [item.name for item in found if isinstance(item, Refusal)] == refused


@pytest.mark.parametrize("kind", FORMATS)
def test_an_archive_cut_off_anywhere_is_told_so_with_the_byte(kind: int) -> None:
    name = "n" * 90 + ".png" if kind == tarfile.USTAR_FORMAT else "ü" * 150 + ".png"
    data = archive([file(name, b"x" * 700), file("b.png", b"y" * 512)], kind)
    end = data.rindex(b"y" * 512) + 512
    for length in range(1, end + 512):
        with pytest.raises(BodyError) as caught:
            parse(data[:length])
        assert caught.value.at_byte == length
        assert str(length) in str(caught.value)
    for length in range(end + 512, len(data), 500):
        assert len(parse(data[:length])) == 2


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../b", "C:\\x", "…/日本.png", "\u202egnp.exe", "a\nb"])
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_is_data(name: str, kind: int) -> None:
    data = archive([file(name, b"x")], kind)
    assert parse(data) == [(name, b"x")]


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    data = archive([file("caf\udce9.png", b"x")], tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")
    assert parse(data) == [("caf\ufffd.png", b"x")]


def test_every_kind_of_thing_that_is_no_file_is_refused_by_name_and_directories_are_not() -> None:
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    data = archive([*(file(f"n{number}", b"", type=kind) for number, kind in enumerate(kinds)), file("d", b"", type=tarfile.DIRTYPE)])
    found = parse(data)
    assert [(item.name, item.code) for item in found if isinstance(item, Refusal)] == [(f"n{n}", RefusalCode.NOT_A_FILE) for n in range(5)]


def test_a_sparse_file_is_refused_and_the_next_is_read() -> None:
    info, _ = file("holes", b"")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"%011o\0" % 600
    header[482] = 1
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    more, last = bytearray(512), bytearray(512)
    more[504] = 1
    data = bytes(header) + bytes(more) + bytes(last) + b"s" * 600 + bytes(424) + archive([file("b", b"y")])
    refusal, image = parse(data)
    assert isinstance(refusal, Refusal)
    assert (refusal.name, refusal.code) == ("holes", RefusalCode.NOT_A_FILE)
    assert image == ("b", b"y")


def test_large_and_empty_files_and_long_names_are_refused_and_the_rest_is_read() -> None:
    long = "x" * 1025
    data = archive([file("big", b"b" * (LIMIT + 1)), file("none", b""), file(long, b"x"), file("y" * 1024, b"y")])
    found = parse(data, cut(data, random.Random(1)))
    assert [item.code for item in found if isinstance(item, Refusal)] == [RefusalCode.TOO_LARGE, RefusalCode.EMPTY, RefusalCode.BAD_NAME]
    assert all(len(item[0].encode()) <= 1024 for item in found)
    assert found[-1] == ("y" * 1024, b"y")


def test_a_base_256_size_is_read() -> None:
    header = bytearray(file("a", b"xyz")[0].tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + (3).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    assert parse(bytes(header) + b"xyz" + bytes(509 + 1024)) == [("a", b"xyz")]


def test_a_signed_checksum_of_old_programs_is_right() -> None:
    header = bytearray(file("é", b"x")[0].tobuf(tarfile.USTAR_FORMAT))
    rest = header[:148] + header[156:]
    header[148:156] = b"%06o\0 " % (256 + sum(rest) - 256 * sum(byte > 127 for byte in rest))
    assert parse(bytes(header) + b"x" + bytes(511 + 1024)) == [("é", b"x")]


@pytest.mark.parametrize("field", [slice(0, 1), slice(130, 131), slice(150, 151), slice(200, 201), slice(156, 157)])
def test_a_damaged_header_is_told_with_its_byte_after_the_images_before_it(field: slice) -> None:
    first = archive([file("a", b"x" * 600)])[: 512 + 1024]
    second = bytearray(archive([file("b", b"y")]))
    second[field] = b"9"
    parser = TarParser(LIMIT)
    found = []
    with pytest.raises(BodyError) as caught:
        found.extend(parser.feed(first + bytes(second)))
    assert caught.value.at_byte == 1536
    parser = TarParser(LIMIT)
    assert list(parser.feed(first)) == [("a", b"x" * 600)]


@pytest.mark.parametrize("body", [b"\x1f\x8b" + bytes(600), b"PK\x03\x04" + b"z" * 600, b"hello" * 200, b"\x89PNG\r\n\x1a\n" + b"x" * 600])
def test_what_is_no_tar_at_all_is_told_so(body: bytes) -> None:
    with pytest.raises(BodyError, match=r"compressed|not a tar"):
        parse(body)


def test_archives_one_after_another_are_read_to_the_end_and_rubbish_behind_them_is_passed_over() -> None:
    data = archive([file("a", b"x")]) + archive([file("b", b"y")]) + b"rubbish" * 1000
    assert parse(data, cut(data, random.Random(2))) == [("a", b"x"), ("b", b"y")]


def test_an_empty_body_is_no_archive_and_an_archive_of_nothing_is_one() -> None:
    with pytest.raises(BodyError):
        parse(b"")
    assert parse(bytes(1024)) == []


def test_a_giant_header_is_not_read_into_memory() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, MAX_META_BYTES + 1
    with pytest.raises(BodyError, match="at most"):
        parse(info.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("records", [b"x path=a\n", b"99 path=a\n", b"5\n", b"10 path\n\n\n", b"0 path=a\n", b"1", b"11 path=abc "])
def test_damaged_pax_records_are_an_error_not_a_crash(records: bytes) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    with pytest.raises(BodyError):
        parse(info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0") + archive([file("a", b"x")]))


@pytest.mark.parametrize("seed", range(300))
def test_random_damage_never_crashes_the_parser(seed: int) -> None:
    source = random.Random(seed)
    data = bytearray(archive(random_members(source, tarfile.PAX_FORMAT)))
    for _ in range(source.randint(1, 5)):
        data[source.randrange(len(data))] = source.randrange(256)
    parser = TarParser(LIMIT)
    try:
        for chunk in cut(bytes(data), source):
            for member in parser.feed(chunk):
                assert isinstance(member, Refusal) or 0 < len(member[1]) <= LIMIT
        parser.finish()
    except BodyError:
        return
