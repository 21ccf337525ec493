"""Every kind of problem of the HTTP API: its stable slug, its status, and what it says to people. docs/errors.md is made from here.

Data only; `python -m convnet_kafka.server.problem_types` prints that page.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple


class ProblemType(NamedTuple):
    """One kind of problem.

    Attributes:
        status: of the HTTP answer.
        title: a few words; the same for every problem of the kind.
        means: what has happened.
        remedy: what the caller does about it.
    """

    status: int
    title: str
    means: str
    remedy: str


# By status. Within a version of the API a slug is never taken away and never gets another meaning.
SLUGS: Mapping[str, ProblemType] = {
    "bad-request": ProblemType(
        400,
        "The request is malformed",
        "A parameter, a header or the body is not of the form that the call takes; `detail` names it.",
        "Change the request; the same one is refused again. `at_byte` says where an archive is damaged.",
    ),
    "unauthenticated": ProblemType(
        401,
        "A key is needed",
        "The server asks for a key, and the request has none, or one that is unknown, expired or revoked.",
        "Send `Authorization: Bearer KEY`. Whoever runs the server makes keys with `convnet-kafka keys add`.",
    ),
    "not-allowed": ProblemType(
        403,
        "The key does not allow this",
        "The key is good, but not for this call.",
        "Use another key, or have this one allowed more.",
    ),
    "job-unknown": ProblemType(
        404,
        "There is no such job",
        "The job's id is damaged or forged, or it belongs to another tenant. Which of them is not told.",
        "Use the id exactly as `POST /v1/jobs` gave it, with a key of the same tenant.",
    ),
    "not-found": ProblemType(
        404,
        "There is nothing at this path",
        "No call has this path.",
        "Look at the paths in `/docs` or `/openapi.json`.",
    ),
    "method-not-allowed": ProblemType(
        405,
        "This path does not take this method",
        "The path is right, the method is not.",
        "Use a method that the header `Allow` names.",
    ),
    "too-slow": ProblemType(
        408,
        "The body did not arrive in time",
        "The body had not ended after twice the upload's deadline.",
        "Send smaller requests. What was accepted is counted in the answer; sending the whole again is harmless.",
    ),
    "job-cancelled": ProblemType(
        409,
        "The job has been cancelled",
        "The job takes no more images; those that waited get the result `cancelled`. Its results can still be read.",
        "Open a new job.",
    ),
    "job-expired": ProblemType(
        410,
        "The job has expired",
        "The job's life (three days, unless the server is set otherwise) is over.",
        "Open a new job and send the images again.",
    ),
    "job-of-another-cluster": ProblemType(
        410,
        "The job belongs to another Kafka",
        "The topic that held the job's results has been made anew since the job was opened.",
        "Open a new job and send the images again.",
    ),
    "too-large": ProblemType(
        413,
        "The body or the image is too large",
        "A limit on the bytes of an image, or on the bytes or the images of a request, was passed; `detail` names it.",
        "Send several smaller requests, or a smaller image.",
    ),
    "unsupported": ProblemType(
        415,
        "The content is not supported",
        "The content type is none that is taken, or the body is no picture.",
        "Send a picture, or an archive of the types that `/docs` lists.",
    ),
    "too-many-uploads": ProblemType(
        429,
        "Too many uploads are in progress",
        "This server process has as many uploads in progress as it allows.",
        "Send it again after `Retry-After` seconds.",
    ),
    "rate-limited": ProblemType(
        429,
        "The key's rate is used up",
        "The key has sent more requests or images than its rate allows.",
        "Send it again after `Retry-After` seconds.",
    ),
    "internal": ProblemType(
        500,
        "The server made a mistake",
        "An error that nobody foresaw. It is in the server's log.",
        "Send it again: that is harmless. Tell whoever runs the server when it stays.",
    ),
    "backlog-too-long": ProblemType(
        503,
        "Too much work waits already",
        "The images that wait in the lane would take longer than the server lets callers wait.",
        "Send it again after `Retry-After` seconds. More classifiers shorten it.",
    ),
    "backlog-too-old": ProblemType(
        503,
        "Work has waited for too long already",
        "Images have waited for half of the time that Kafka keeps them; nothing new is taken, so that none is lost.",
        "Send it again after `Retry-After` seconds. Whoever runs the server sees to the classifiers.",
    ),
    "fast-lane-busy": ProblemType(
        503,
        "The fast lane cannot answer in time",
        "Labels would not come within the caller's `timeout`, or a job would keep such callers waiting. Nothing was stored.",
        "Send it again after `Retry-After` seconds, or send the images to a job on the bulk lane.",
    ),
    "kafka-unavailable": ProblemType(
        503,
        "Kafka does not answer",
        "The server cannot reach Kafka, or Kafka did not acknowledge in time.",
        "Send it again after `Retry-After` seconds. What may have been stored is not classified twice.",
    ),
    "too-many-scans": ProblemType(
        503,
        "Too many readers are catching up",
        "As many old jobs are being read from their start as the server process allows.",
        "Ask again after `Retry-After` seconds, with the last cursor: reading goes on from there.",
    ),
    "shutting-down": ProblemType(
        503,
        "This server is going away",
        "The process ends; others answer.",
        "Send it again: it reaches another one.",
    ),
}


def document() -> str:
    """docs/errors.md."""
    lines = [
        "# Problems",
        "",
        "<!-- Made by `python -m convnet_kafka.server.problem_types`; edit services/convnet_kafka/server/problem_types.py. -->",
        "",
        "Every error of the HTTP API is RFC 9457 `application/problem+json`: `type` is `/problems/` and the slug, which never changes its",
        "meaning; `title`, `status`; and `detail`, which says what happened to this request. Branch on `type`, show `detail`. A `429` or",
        "`503` carries `Retry-After` in seconds. The server shows each kind at the path in `type`.",
    ]
    for slug, kind in SLUGS.items():
        lines += ["", f"## {slug}", "", f"{kind.status}: {kind.title}. {kind.means}", "", f"**What to do:** {kind.remedy}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
