"""How many images the next batch may hold, from what the last ones cost, and from whether others wait behind it.

Owns nothing: the loop reports what it measured, a lane's thread asks for the limit. Both only read or write single numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import accumulate

# A batch holds up whatever comes after it, a person's image on the fast lane above all: 40 ms is not noticed.
MAX_BATCH_S = 0.040
# While nobody has been on the other lane lately a batch may take as long as the first who comes then would hardly notice. Photos for a
# 224-pixel network cost 4 % less in eights than in twos, and four batches fewer have their results sent and read.
UNDISTURBED_BATCH_S = 0.100
LATELY_S = 10.0
# Encoded bytes of one batch: large photos are limited by time long before, this bounds memory when they decode fast.
MAX_BATCH_BYTES = 32 * 1024 * 1024
# What was read is begun together though it has so many times the bytes that were to be expected: images of one job differ.
USUAL_SPREAD = 2
# Before anything was measured: small enough that a batch of large photos on a slow core takes about a second.
FIRST_BATCH = 8
# Of a cheaper measurement so much counts; a dearer one counts at once, because a batch too large does harm.
EASING = 0.2


class BatchSizer:
    """One lane's limit.

    Args:
        max_images: images in a batch at most, 1 or more.
        max_seconds: seconds of work in a batch.
        undisturbed_seconds: the same while `disturbed` has not been called lately.
        max_bytes: encoded bytes in a batch.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        max_images: int,
        *,
        max_seconds: float = MAX_BATCH_S,
        undisturbed_seconds: float = UNDISTURBED_BATCH_S,
        max_bytes: int = MAX_BATCH_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_images = max_images
        self._max_seconds = max_seconds
        self._undisturbed_seconds = undisturbed_seconds
        self._max_bytes = max_bytes
        self._clock = clock
        self._disturbed_at = float("-inf")
        self._image_s = undisturbed_seconds / FIRST_BATCH
        self._image_bytes = 0.0

    def limit(self) -> int:
        """Images that the next batch may hold, 1 or more."""
        images = self._max_images
        seconds = self._max_seconds if self._clock() - self._disturbed_at < LATELY_S else self._undisturbed_seconds
        if images * self._image_s > seconds:
            images = int(seconds / self._image_s)
        if images * self._image_bytes > self._max_bytes:
            images = int(self._max_bytes / self._image_bytes)
        return max(images, 1)

    def fits(self, sizes: Sequence[int]) -> int:
        """How many of the images that were read the next batch is to hold: all, unless they are far larger than those that were measured.

        Their number was asked for before anybody knew them: 256 photos in the place of 256 thumbnails would hold up the other lane for
        seconds.

        Args:
            sizes: encoded bytes of each, in order.

        Returns:
            1 or more.
        """
        limit = self.limit()
        expected = limit * self._image_bytes
        most = min(USUAL_SPREAD * expected, self._max_bytes) if expected else self._max_bytes
        if sum(sizes) <= most:
            return len(sizes)
        return max(min(sum(size <= most for size in accumulate(sizes)), limit), 1)

    def disturbed(self) -> None:
        """Somebody on another lane has had work done: others may wait behind this lane's batches."""
        self._disturbed_at = self._clock()

    def measured(self, images: int, seconds: float, size: int) -> None:
        """Learn from a batch.

        Args:
            images: how many a model was asked about, 1 or more.
            seconds: of work, from parsing to publishing.
            size: encoded bytes of these.
        """
        self._image_s = _eased(self._image_s, seconds / images)
        self._image_bytes = _eased(self._image_bytes, size / images)

    def wasted(self, images: int, seconds: float) -> None:
        """Learn from a batch in which no model was asked about any image: that others cost as little it does not say, as much it may.

        Args:
            images: how many it held, 1 or more.
            seconds: of work, from parsing to publishing.
        """
        self._image_s = max(self._image_s, seconds / images)


def _eased(known: float, now: float) -> float:
    return now if now > known else known + EASING * (now - known)
