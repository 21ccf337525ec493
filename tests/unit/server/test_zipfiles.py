"""What a zip is taken apart into: pictures by name; whatever is odd, hostile or a lie is refused by name, and the rest goes on."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

import pytest

from convnet_kafka.server.members import BodyError, Image
from convnet_kafka.server.outcome import Refusal, RefusalCode
from convnet_kafka.server.zipfiles import ZipReader
from support.http import png
from support.zips import patched, zipped

LIMIT = 10_000


def read(data: bytes) -> list[Image | Refusal | None]:
    return list(ZipReader(io.BytesIO(data), LIMIT).members())


def refusals(data: bytes) -> dict[str, RefusalCode]:
    return {item.name: item.code for item in read(data) if isinstance(item, Refusal)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_come_out_and_folders_are_nothing(method: int) -> None:
    images = {f"d/ä{number}.png": png(str(number)) * 50 for number in range(2000)}
    found = read(b"a few bytes before" + zipped({"d/": b"", **images}, method))
    assert found[0] is None
    assert found[1:] == list(images.items())


def test_names_are_data() -> None:
    images = {"../../up.png": png("1"), "/abs.png": png("2"), "C:\\x.png": png("3"), "a\r\nb.png": png("4")}
    assert [item[0] for item in read(zipped(images)) if item] == list(images)
    old = zipped({"caf?.png": png("x")}).replace(b"caf?.png", b"caf\x82.png")
    assert read(old) == [("café.png", png("x"))], "without UTF-8 it is the code page of DOS"


def test_what_is_no_plain_file_is_refused_by_name_and_the_rest_goes_on() -> None:
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bz2.png", png("x"), zipfile.ZIP_BZIP2)
        archive.writestr("empty.png", b"")
        archive.writestr("big.png", png("x" * LIMIT))
        archive.writestr("n" * 1025, png("x"))
        archive.writestr("good.png", png("good"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("good.png", png("other"))
    found = read(out.getvalue())
    assert [item.code for item in found if isinstance(item, Refusal)] == [
        RefusalCode.NOT_A_FILE,
        RefusalCode.UNSUPPORTED,
        RefusalCode.EMPTY,
        RefusalCode.TOO_LARGE,
        RefusalCode.BAD_NAME,
        RefusalCode.BAD_NAME,
    ]
    assert ("good.png", png("good")) in found


def test_encrypted_zip64_and_lying_members_are_refused_by_name() -> None:
    images = {f"{number}.png": png("x" * 500) for number in range(9)}
    data = zipped(images, zipfile.ZIP_DEFLATED)
    data = patched(data, "0.png", flags=1)
    data = patched(data, "1.png", size=0xFFFFFFFF)
    data = patched(data, "2.png", size=100)  # a bomb: more comes out than it says
    data = patched(data, "3.png", size=9000)
    data = patched(data, "4.png", crc=7)
    data = patched(data, "5.png", offset=3)
    data = patched(data, "6.png", packed=9_000)
    data = patched(data, "7.png", method=0)
    assert refusals(data) == {
        "0.png": RefusalCode.UNSUPPORTED,
        "1.png": RefusalCode.UNSUPPORTED,
        **{f"{number}.png": RefusalCode.DAMAGED for number in range(2, 8)},
    }
    assert read(data)[-1] == ("8.png", images["8.png"])


def test_an_inflated_content_that_costs_time_and_gives_nothing_is_not_read() -> None:
    nothing = (b"\x00\x00\x00\xff\xff" * 20_000) + b"\x03\x00"
    data = zipped({"a.png": nothing})
    data = patched(data, "a.png", method=8, size=1, crc=zlib.crc32(b""))
    assert refusals(data) == {"a.png": RefusalCode.DAMAGED}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a zip"),
        (b"PK\5\6", "not a zip"),
        (zipped({"a.png": png("x")})[:-1], "not a zip"),
        (zipped({"a.png": png("x")})[10:], "damaged or cut off|not where"),
        (struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0), "zip64"),
        (struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 5, 5, 0, 0, 0), "0 entries, not 5"),
        (bytes(100) + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, 100, 0, 0), "no entry"),
    ],
)
def test_an_archive_that_is_damaged_as_a_whole_is_told(data: bytes, said: str) -> None:
    with pytest.raises(BodyError, match=said):
        read(data)


@pytest.mark.parametrize("seed", range(150))
def test_random_damage_never_crashes_the_reader_and_never_changes_a_picture(seed: int) -> None:
    generator = random.Random(seed)
    images = {f"{number}.png": png("x") + generator.randbytes(300) for number in range(8)}
    data = bytearray(zipped(images, generator.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    for _ in range(generator.randint(1, 8)):
        data[generator.randrange(len(data))] = generator.randrange(256)
    try:
        found = read(bytes(data))
    except BodyError:
        return
    assert {item[1] for item in found if item is not None and not isinstance(item, Refusal)} <= set(images.values())
