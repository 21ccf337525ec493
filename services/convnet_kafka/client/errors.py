"""What can go wrong, by what the caller can do about it: with the sources one error, with the server a family of ServerErrors."""

from __future__ import annotations

from convnet_kafka.errors import ConvnetKafkaError, ServerError


class SourceError(ConvnetKafkaError):
    """There is nothing to send where the caller said, or with `strict` something that cannot be read."""

    exit_code = 2


class ServerAway(ServerError):
    """Nobody answered: no connection, or it broke, or the answer did not come in time. Uploads may or may not be stored; send again."""


class Unreachable(ServerAway):
    """No connection could be made at all: more often than not it is the address."""


class BrokenAnswer(ServerAway):
    """The server, or something before it, answered what cannot be true: the request counts as not answered."""


class NotAuthenticated(ServerError):
    """401: the server wants a key, or does not know this one."""


class NotAllowed(ServerError):
    """403: the key is known and may not do this."""


class JobUnknown(ServerError):
    """404: the job's id is wrong, damaged, or belongs to somebody else."""


class JobExpired(ServerError):
    """410: the job's life is over, or Kafka's labels were made anew since."""


class JobCancelled(ServerError):
    """409: the job was cancelled and takes no more images; its results can still be read."""


class RateLimited(ServerError):
    """429: too many requests or images for this key or server; `retry_after_s` says when there is room."""


class Unavailable(ServerError):
    """503 and its like: the server cannot do it now, for example because Kafka is away; `retry_after_s` says when to come back."""


class Refused(ServerError):
    """Any other answer that is no success: the same request will be refused again."""


class DeadlineExceeded(ServerError):
    """The caller's own deadline came first. What was accepted stays accepted, and is labelled."""

    # As timeout(1) ends.
    exit_code = 124


_BY_STATUS: dict[int, type[ServerError]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    408: Unavailable,
    410: JobExpired,
    425: Unavailable,
    429: RateLimited,
}
# A 404 of anything but our server says nothing of a job.
_BY_SLUG: dict[str | None, type[ServerError]] = {"job-unknown": JobUnknown, "job-cancelled": JobCancelled}


def error_of(message: str, status: int, slug: str | None, retry_after_s: float | None) -> ServerError:
    """The error that an answer stands for."""
    kind = _BY_SLUG.get(slug) or _BY_STATUS.get(status) or (Unavailable if status >= 500 else Refused)
    return kind(message, status=status, slug=slug, retry_after_s=retry_after_s)
