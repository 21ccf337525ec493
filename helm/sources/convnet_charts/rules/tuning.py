"""Every number in the rules that an operator or a test may want otherwise, and a scale for time.

With `scale` 60 an hour of burn rate is a minute, so that a test sees in minutes what production sees in days.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])")
HOUR_S = 3600
DAY_S = 86_400


def seconds(duration: str) -> int:
    """A duration as Prometheus writes it, in seconds.

    Raises:
        ValueError: it is not one number with one unit.
    """
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"{duration!r} is not a duration such as 5m, 6h or 3d")
    return int(match[1]) * _UNITS_S[match[2]]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the rules ask for.

    Attributes:
        scale: by how much all windows, offsets and waits are shorter; 1 in production.
        shortest_window_s: no window becomes shorter; several scrapes must fall into each.
        availability: share of requests with images that must not end in a 5xx.
        in_time: share of a lane's images that must have their result within the lane's time.
        fast_s: the fast lane's time from accepted to labelled, in seconds; a bound of the histogram's buckets.
        bulk_s: the same in the bulk lane.
        fast_drain_s: seconds of work that may wait in the fast lane while it grows.
        bulk_drain_s: the same in the bulk lane.
        fast_still_s: seconds for which images of the fast lane may wait with none done.
        bulk_still_s: the same in the bulk lane.
        oldest_s: how long an image may wait; a quarter of the default retention.
        silent_s: seconds without an answer from Kafka.
        unseen_s: seconds for which a server may not have seen the backlog.
        key_expiry_s: how long before an API key ends somebody is told.
        certificate_expiry_s: the same of the certificates between services and Kafka.
        disk_full_s: how long before a broker's disk is full somebody is told.
        disk_history: what is extrapolated from.
        disk_free_ratio: share of a disk that must stay free.
        disagreement_ratio: share of compared images that a canary or shadow may label otherwise.
        compared_images: so many must have been compared.
        drift_ratio: how far the class mix may be from the validation images' (total variation distance, 0-1).
        drift_images: so many must have been labelled in the hour.
        dead_letters: so many in a quarter of an hour, and `dead_letter_ratio` of all images, are too many.
        dead_letter_ratio: see above.
    """

    scale: float = 1.0
    shortest_window_s: float = 0.0
    availability: float = 0.999
    in_time: float = 0.99
    fast_s: float = 1.0
    bulk_s: float = 300.0
    fast_drain_s: float = 20.0
    bulk_drain_s: float = 4.0 * HOUR_S
    fast_still_s: float = 60.0
    bulk_still_s: float = 300.0
    oldest_s: float = 42.0 * HOUR_S
    silent_s: float = 30.0
    unseen_s: float = 60.0
    key_expiry_s: float = 14.0 * DAY_S
    certificate_expiry_s: float = 30.0 * DAY_S
    disk_full_s: float = 12.0 * HOUR_S
    disk_history: str = "6h"
    disk_free_ratio: float = 0.1
    disagreement_ratio: float = 0.1
    compared_images: int = 100
    drift_ratio: float = 0.3
    drift_images: int = 500
    dead_letters: int = 10
    dead_letter_ratio: float = 0.01

    def window(self, duration: str) -> str:
        """How far a query looks back, scaled, for the brackets of a range or behind `offset`."""
        return self._scaled(duration, self.shortest_window_s)

    def wait(self, duration: str) -> str:
        """How long a condition must hold before an alert fires (`for`), scaled."""
        return self._scaled(duration, 0.0)

    def _scaled(self, duration: str, shortest_s: float) -> str:
        if self.scale == 1:
            return duration
        return f"{max(round(1000 * max(seconds(duration) / self.scale, shortest_s)), 1)}ms"


def number(value: float) -> str:
    """A threshold as rules write it: no exponent, no needless zeros."""
    return f"{value:.10f}".rstrip("0").rstrip(".")
