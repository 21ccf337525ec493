"""Servers and classifiers over HTTP: do they answer, are they ready, do they run the same version, and is their clock ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from convnet_kafka.diagnosis.doctor.findings import Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.diagnosis.endpoints import Endpoint, Page, fetch, of_all

READY = 200
SKEW_S = 5.0
_BUILD = re.compile(rb'^convnet_build_info\{[^}]*version="([^"]+)"', re.MULTILINE)


def answers(place: Installation) -> Findings:
    """All replicas that are known here answer and are ready."""
    endpoints = place.endpoints
    if not endpoints:
        yield skip("no address of a server or classifier is known here: give --endpoint, or CONVNET_TOP_ENDPOINTS")
        return
    pages: list[Page] = of_all(endpoints, lambda endpoint: fetch(f"{endpoint.url}/readyz", place.patience_s))
    ready = 0
    for endpoint, page in zip(endpoints, pages, strict=True):
        if not page.status:
            yield fail(
                f"{endpoint} does not answer: {page.error}", "does it run? Look at its log, and at what lies between (NetworkPolicy, port)"
            )
        elif page.status != READY:
            reasons = "; ".join(map(str, page.fields().get("reasons", []))) or f"HTTP status {page.status}"
            yield fail(f"{endpoint} is not ready: {reasons}", "that is what it waits for; its log says since when")
        else:
            ready += 1
        if page.seconds_ahead is not None and abs(page.seconds_ahead) > SKEW_S:
            yield warn(
                f"the clock of {endpoint} is {abs(page.seconds_ahead):.0f} s {'ahead of' if page.seconds_ahead > 0 else 'behind'} ours",
                "set the clocks by NTP",
            )
    if ready:
        yield well(f"{ready} of {len(endpoints)} replicas are ready")
    yield from _versions(place, [endpoint for endpoint, page in zip(endpoints, pages, strict=True) if page.status])


def _versions(place: Installation, endpoints: Sequence[Endpoint]) -> Findings:
    pages: list[Page] = of_all(endpoints, lambda endpoint: fetch(f"{endpoint.url}/metrics", place.patience_s))
    found = Counter(match[1].decode() for page in pages if (match := _BUILD.search(page.body)))
    if len(found) > 1:
        told = ", ".join(f"{count} of {version}" for version, count in sorted(found.items()))
        yield warn(
            f"replicas run several versions: {told}", "fine while an upgrade rolls out, else finish it: classifiers first, then servers"
        )
