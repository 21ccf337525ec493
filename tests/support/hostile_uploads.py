"""Broken and hostile uploads, the same every time for a seed, and somebody who sends them byte for byte over a plain socket."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, urlsplit

from support.http import png, tar
from support.zips import patched, zipped

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TYPES = (
    "image/png",
    "application/octet-stream",
    "application/x-tar",
    "application/gzip",
    "application/zstd",
    "application/zip",
    "multipart/form-data; boundary=x",
)
NAMES = (
    "../../../etc/passwd",
    "/etc/shadow",
    "C:\\Windows\\x.png",
    "a\r\nSet-Cookie: x=1\r\n\r\n<html>",
    "\u202egnp.x",
    "x" * 1_000_000,
    "x" * 1025,
    "..",
    "💥" * 300,
    "'; DROP TABLE images; --",
    "\x1b[2J\x07",
    "%00%2e%2e",
    '"quoted"',
)
WRONG_TYPES = (
    "",
    "\x7f",
    "image/",
    "image/png; charset=\udce4",
    "text/html",
    "application/json",
    "application/x-tar; " * 99,
    "multipart/form-data",
    "multipart/form-data; boundary=\udcff",
    "multipart/form-data; boundary=" + "b" * 5000,
)
BAD_CHUNKS = (b"zz\r\n", b"-5\r\n", b"fffffffffffffffff\r\n", b"5\r\nabc\r\n", b"\r\n", b"5;" + b"x" * 70_000, b"1 \r\nx\r\n")
# Pace of a slow sender, and how long one that says nothing more stays.
DRIP_S, STALL_S = 0.002, 0.5


@dataclass(frozen=True, slots=True)
class Attack:
    """One request, as bytes.

    Attributes:
        kind: what is bad about it.
        head: its headers, without those that say how long the body is when `length` is given.
        pieces: its body.
        cut: the connection ends after them, in the middle of what was promised.
        drip: the pieces are sent with pauses.
        stall: nothing more is sent for a while, then the connection is gone.
    """

    kind: str
    head: bytes
    pieces: tuple[bytes, ...]
    cut: bool = False
    drip: bool = False
    stall: bool = False


class Attacks:
    """Makes attacks.

    Args:
        paths: where uploads go, with their query.
        seed: of all that is random.
    """

    def __init__(self, paths: list[str], seed: int) -> None:
        self._paths = paths
        self._random = random.Random(seed)
        self._kinds: list[Callable[[], Attack]] = [
            self.noise,
            self.cut,
            self.too_short,
            self.too_long,
            self.drip,
            self.bomb,
            self.zip_bomb,
            self.nested,
            self.names,
            self.not_files,
            self.wrong_type,
            self.wrong_encoding,
            self.fuzzed,
            self.fuzzed,
            self.fuzzed,
            self.chunks,
            self.headers,
            self.multipart,
            self.tar_headers,
            self.lying_zip,
            self.stalled,
        ]

    def make(self, count: int) -> list[Attack]:
        """So many, of every kind in turn."""
        return [self._kinds[number % len(self._kinds)]() for number in range(count)]

    def _request(self, kind: str, body: bytes, content_type: str, *headers: str, length: int | None = None, **how: bool) -> Attack:
        lines = [f"Content-Length: {len(body) if length is None else length}", f"Content-Type: {content_type}", *headers]
        step = self._random.choice([1 << 20, 1 << 16, 1000]) if not how.get("drip") else max(1, len(body) // 40)
        pieces = tuple(body[at : at + step] for at in range(0, len(body), step))
        return Attack(kind, self._head(*lines), pieces, **how)

    def _head(self, *lines: str) -> bytes:
        path = self._random.choice(self._paths)
        said = "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *lines])
        return said.encode("utf-8", "surrogateescape") + b"\r\n\r\n"

    def _images(self, count: int = 5) -> dict[str, bytes]:
        return {f"{number}.png": png(f"hostile {self._random.random()}" * self._random.choice([1, 500])) for number in range(count)}

    def _form(self, images: dict[str, bytes]) -> bytes:
        parts = [
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="' + name.encode() + b'"\r\n\r\n' + content + b"\r\n"
            for name, content in images.items()
        ]
        return b"".join(parts) + b"--x--\r\n"

    def _whole(self) -> tuple[bytes, str]:
        """A good body."""
        images = self._images()
        return self._random.choice(
            [
                (tar(images), "application/x-tar"),
                (gzip.compress(tar(images), 1), "application/gzip"),
                (zstd.compress(tar(images)), "application/zstd"),
                (zipped(images, self._random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])), "application/zip"),
                (self._form(images), TYPES[-1]),
                (next(iter(images.values())), "image/png"),
            ]
        )

    def noise(self) -> Attack:
        begin = self._random.choice([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\3\4", b"--x\r\n", b"\x89PNG\r\n\x1a\n"])
        body = begin + self._random.randbytes(self._random.choice([0, 1, 511, 512, 5000, 200_000]))
        return self._request("noise", body, self._random.choice(TYPES))

    def cut(self) -> Attack:
        body, kind = self._whole()
        return self._request("cut", body[: self._random.randrange(len(body))], kind, length=len(body), cut=True)

    def too_short(self) -> Attack:
        body, kind = self._whole()
        return self._request("length too small", body, kind, length=self._random.randrange(len(body)))

    def too_long(self) -> Attack:
        body, kind = self._whole()
        return self._request("length too large", body, kind, length=len(body) + self._random.choice([1, 1000, 10**12]), cut=True)

    def drip(self) -> Attack:
        body, kind = self._whole()
        return self._request("drip", body, kind, drip=True)

    def stalled(self) -> Attack:
        body, kind = self._whole()
        return self._request("stalled", body[: len(body) // 2], kind, length=len(body), stall=True)

    def bomb(self) -> Attack:
        packed = bomb(self._random.choice([gzip.compress, zstd.compress]), self._random.random() < 0.5, self._random.random() < 0.3)
        return self._request("bomb", packed, self._random.choice(TYPES[2:5]))

    def zip_bomb(self) -> Attack:
        data = zipped({f"{number}": bytes(90_000) for number in range(100)}, zipfile.ZIP_DEFLATED)
        if self._random.random() < 0.5:
            # Every entry is the same content.
            data = zipped({str(number): bytes(90_000) for number in range(50)}, zipfile.ZIP_DEFLATED)
            for number in range(50):
                data = patched(data, str(number), offset=0)
        return self._request("zip bomb", data, "application/zip")

    def nested(self) -> Attack:
        inner = self._random.choice([zipped(self._images()), tar(self._images()), gzip.compress(tar(self._images()))])
        for _ in range(3):
            inner = self._random.choice([lambda data: zipped({"in.zip": data}), lambda data: tar({"in.tar": data}), gzip.compress])(inner)
        return self._request("nested", inner, self._random.choice(TYPES))

    def names(self) -> Attack:
        images = dict.fromkeys(self._random.sample(NAMES, 3), png("named"))
        with_nul = self._form({"n": png("x")}).replace(b'"n"', b'"n\0.png"')
        body, kind = self._random.choice(
            [
                (tar(images), "application/x-tar"),
                (zipped({name: content for name, content in images.items() if len(name) < 60_000}), "application/zip"),
                (self._form(images), TYPES[-1]),
                (with_nul, TYPES[-1]),
            ]
        )
        return self._request("names", body, kind)

    def not_files(self) -> Attack:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)):
                info = tarfile.TarInfo(f"../n{number}")
                info.type, info.linkname = kind, "/etc/passwd"
                archive.addfile(info)
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        zip_out = io.BytesIO()
        with zipfile.ZipFile(zip_out, "w") as archive_zip:
            archive_zip.writestr(link, "/etc/passwd")
        body, kind = self._random.choice([(out.getvalue(), "application/x-tar"), (zip_out.getvalue(), "application/zip")])
        return self._request("not files", body, kind)

    def wrong_type(self) -> Attack:
        kind = self._random.choice(WRONG_TYPES)
        return self._request("wrong type", self._whole()[0], kind)

    def wrong_encoding(self) -> Attack:
        encoding = self._random.choice(["gzip", "zstd", "br", "deflate", "gzip, gzip", "\udcff", "identity", "x" * 4000])
        body, kind = self._whole()
        return self._request("wrong encoding", body, kind, f"Content-Encoding: {encoding}")

    def fuzzed(self) -> Attack:
        body, kind = self._whole()
        data = bytearray(body)
        for _ in range(self._random.choice([1, 3, 10, 50])):
            at = self._random.randrange(len(data) + 1)
            if self._random.random() < 0.5:
                data[at : at + 1] = self._random.randbytes(1)
            else:
                data[at : at + self._random.randrange(20)] = self._random.randbytes(self._random.randrange(20))
        return self._request("fuzzed", bytes(data), kind)

    def chunks(self) -> Attack:
        body, kind = self._whole()
        bad = self._random.choice(BAD_CHUNKS)
        first = f"{len(body) // 2:x}\r\n".encode() + body[: len(body) // 2] + b"\r\n"
        both = self._random.choice([(), (f"Content-Length: {len(body)}",)])
        head = self._head("Transfer-Encoding: chunked", f"Content-Type: {kind}", *both)
        return Attack("chunks", head, (first, bad, body), cut=True)

    def headers(self) -> Attack:
        header = self._random.choice(
            [
                "Idempotency-Key: \udcff\udcfe",
                "Idempotency-Key: " + "k" * 3000,
                "X: " + "x" * 100_000,
                "Content-Length: 5",
                "Content-Length: -1",
                "Transfer-Encoding: gzip",
                "Expect: 100-continue",
                "Expect: 200-nothing",
                "Broken",
                "A\0B: x",
                "Idempotency-Key: a\rb",
            ]
        )
        return self._request("headers", png("x"), "image/png", header)

    def multipart(self) -> Attack:
        part = b'Content-Disposition: form-data; name="f"; filename="a.png"\r\n'
        body = self._random.choice(
            [
                b"preamble" * 50_000,
                b"--x\r\n" + b"y" * 300_000,
                (b"--x\r\n" + part + b"\r\n\r\n") * 3000 + b"--x--",
                (b"--x\r\n" + part) * 100,
                b"--x\r\nContent-Disposition: attachment; filename=a\r\n\r\nz\r\n--x--",
                b"--x\r\n" + part + b"Content-Length: 99999999999\r\n\r\nz\r\n--x--",
                b"--x\r\n" + part * 20 + b"\r\nz\r\n--x--",
                b"--x\r\n" + part + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x--\r\n--x--",
                b"--x\n" + part + b"\nz\n--x--",
                b"\r\n--x" * 50_000,
                b"--x--" + b"z" * 300_000,
            ]
        )
        return self._request("multipart", body, TYPES[-1])

    def tar_headers(self) -> Attack:
        info = tarfile.TarInfo("a.png")
        info.size = 100
        header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        header[124:136] = self._random.choice([b"77777777777\0", b"-0000000001\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"            "])
        header[156:157] = self._random.choice([b"0", b"L", b"K", b"x", b"g", b"S", b"D", b"5", b"\xff"])
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        body = bytes(header) + self._random.choice([bytes(3000), self._random.randbytes(3000), b"30 path=a\n" * 100, b"9" * 4000])
        return self._request("tar headers", body, "application/x-tar")

    def lying_zip(self) -> Attack:
        data = zipped(self._images(), zipfile.ZIP_DEFLATED)
        field = self._random.choice(["flags", "method", "crc", "packed", "size", "offset"])
        most = 0xFFFF if field in {"flags", "method"} else 0xFFFFFFFF
        data = patched(data, f"{self._random.randrange(5)}.png", **{field: self._random.choice([0, 1, most, self._random.randrange(most)])})
        if self._random.random() < 0.3:
            end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, *(self._random.randrange(1 << 32) for _ in range(2)), 0)
            data = data[:-22] + end
        if self._random.random() < 0.2:
            data = zipped({"a.png": b"\x00\x00\x00\xff\xff" * 10_000 + b"\x03\x00"})
            data = patched(data, "a.png", method=8, size=1, crc=zlib.crc32(b""))
        return self._request("lying zip", data, "application/zip")


@cache
def bomb(pack: Callable[[bytes], bytes], in_a_tar: bool, twice: bool) -> bytes:
    """Twenty megabytes in a few thousand bytes."""
    packed = pack(tar({"a.png": png("x")})[:1024] + tar({"zeros": bytes(20_000_000)}) if in_a_tar else bytes(20_000_000))
    return pack(packed) if twice else packed


def with_names(path: str) -> list[str]:
    """A path of uploads, and the same with names in its query."""
    return [path, *(f"{path}?name={quote(name[:3000], safe='')}" for name in NAMES), f"{path}?name=%00", f"{path}?name=%ff%fe"]


async def send(url: str, attack: Attack, timeout_s: float = 90.0) -> int | None:
    """Send an attack; gives the status of the first answer, None when there is none because the connection ended."""
    place = urlsplit(url)
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            await _write(writer, attack)
            if attack.cut:
                writer.write_eof()
            async with asyncio.timeout(STALL_S if attack.stall else timeout_s):
                return await _status(reader)
        except ConnectionError:
            return None  # it was answered while the body came, and the answer was lost with the connection
        except TimeoutError:
            if not attack.stall:
                raise
            return None
        finally:
            writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> int | None:
    while (line := await reader.readline()).startswith(b"HTTP/1.1 100"):
        await reader.readline()
    await reader.read()
    return int(line.split()[1]) if line.startswith(b"HTTP/") else None


async def _write(writer: asyncio.StreamWriter, attack: Attack) -> None:
    try:
        writer.write(attack.head)
        for piece in attack.pieces:
            writer.write(piece)
            await writer.drain()
            if attack.drip:
                await asyncio.sleep(DRIP_S)  # what makes it one; nothing waits for this
    except ConnectionError:
        return  # the answer may be there nevertheless
