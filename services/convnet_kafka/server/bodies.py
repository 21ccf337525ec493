"""What kinds of bodies there are, and what is checked of one before it is read: type, encoding, size.

Knows Content-Type and Content-Encoding only; what a body really is shows while it is read (`receiving.py`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import Enum, auto

from aiohttp import web

from convnet_kafka.messages import MAX_NAME_BYTES
from convnet_kafka.server import describing
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.members import bad_name
from convnet_kafka.server.multipart import boundary_of
from convnet_kafka.server.problems import Problem
from convnet_kafka.settings import MIB

# A zip is kept on disk until its end has come, where its directory is; a tar is not, and may be larger.
MAX_ZIP_BYTES = 256 * MIB


class Kind(Enum):
    """What a body is."""

    IMAGE = auto()
    TAR = auto()
    ZIP = auto()
    MULTIPART = auto()


_KINDS = {
    "application/octet-stream": Kind.IMAGE,
    "application/x-tar": Kind.TAR,
    "application/tar": Kind.TAR,
    "application/x-gtar": Kind.TAR,
    "application/x-tar+gzip": Kind.TAR,
    "application/gzip": Kind.TAR,
    "application/x-gzip": Kind.TAR,
    "application/zstd": Kind.TAR,
    "application/zip": Kind.ZIP,
    "application/x-zip-compressed": Kind.ZIP,
    "multipart/form-data": Kind.MULTIPART,
}
# Of a tar only. Which of them it is its first bytes say.
_ENCODINGS = frozenset({"gzip", "x-gzip", "zstd"})

# For the API's description.
IMAGE_BODIES: dict[str, None] = dict.fromkeys(
    (
        "image/*",
        "application/octet-stream",
        "multipart/form-data",
        "application/x-tar",
        "application/gzip",
        "application/zstd",
        "application/zip",
    )
)
NAME_PARAMETERS = (
    describing.text("name", "of a body that is one image", MAX_NAME_BYTES),
    describing.header("Idempotency-Key", "its name when the query has none: sent again, it is the same image", "^[!-~]*$"),
)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What one body may be.

    Attributes:
        max_request_bytes: bytes of a body of many images, as it is sent and once it is decompressed.
        max_zip_bytes: bytes of a zip archive.
        max_image_bytes: bytes of an image.
        max_images: images, and things that are none, in one body.
        deadline_s: seconds until images that have not been handed to Kafka count as unknown.
    """

    max_request_bytes: int
    max_zip_bytes: int
    max_image_bytes: int
    max_images: int
    deadline_s: float

    @classmethod
    def of(cls, config: ServerConfig, max_images: int) -> BodyLimits:
        """As they are set, for a call that takes so many images."""
        server = config.server
        return cls(
            max_request_bytes=server.max_request_bytes,
            max_zip_bytes=min(server.max_request_bytes, server.spool_mib * MIB, MAX_ZIP_BYTES),
            max_image_bytes=config.kafka.max_image_bytes,
            max_images=max_images,
            deadline_s=server.upload_deadline_s,
        )

    def bytes_of(self, kind: Kind) -> int:
        """Bytes that a body of a kind may have."""
        if kind is Kind.IMAGE:
            return self.max_image_bytes
        return self.max_zip_bytes if kind is Kind.ZIP else self.max_request_bytes


def kind_of(request: web.Request) -> Kind:
    """What a body is said to be.

    Raises:
        Problem: nothing that is taken.
    """
    said = request.content_type
    kind = Kind.IMAGE if said.startswith("image/") else _KINDS.get(said)
    if kind is None:
        raise Problem(
            "unsupported",
            f"the content type is {said[:100]!r}; send one image as image/* or application/octet-stream, or many as application/x-tar "
            "(plain, gzip or zstd), application/zip or multipart/form-data",
        )
    return kind


def check_body(request: web.Request, limits: BodyLimits) -> Kind:
    """The body is of a kind that is taken, has a name that it may have, and is not said to be too large.

    Raises:
        Problem: it is not.
    """
    kind = kind_of(request)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity" and not (kind is Kind.TAR and encoding in _ENCODINGS):
        raise Problem(
            "unsupported",
            f"the body has the Content-Encoding {encoding[:100]!r}: send it as it is (images do not get smaller); only a tar may come as "
            "gzip or zstd",
        )
    limit = limits.bytes_of(kind)
    if request.content_length is not None and request.content_length > limit:
        what = {Kind.IMAGE: "an image may have", Kind.ZIP: "a zip archive may have"}.get(kind, "a request may have")
        raise Problem("too-large", f"the body has {request.content_length} bytes; {what} {limit}")
    if kind is Kind.IMAGE:
        _given_name(request)
    elif kind is Kind.MULTIPART:
        boundary_of(request.headers["Content-Type"])
    return kind


def image_name(request: web.Request) -> str:
    """The name of a body that is one image: `?name=`, else the Idempotency-Key, else a random one.

    Raises:
        Problem: it cannot be one.
    """
    return _given_name(request) or str(uuid.uuid4())


def _given_name(request: web.Request) -> str | None:
    given = request.query.get("name") or request.headers.get("Idempotency-Key")
    if not given:
        return None
    # Header bytes that are not UTF-8 arrive as lone surrogates.
    name = given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    wrong = bad_name(name)
    if wrong is not None:
        raise Problem("bad-request", f"the image's name cannot be taken: {wrong.detail}", extensions={"code": wrong.code})
    return name
