"""How often a long-lived service looks for reference cycles: seldom, and never among what it started with.

Every image makes and drops some twenty small containers; with Python's defaults that is a collection every 35 images, which finds nothing.
"""

from __future__ import annotations

import gc

# Containers more than were dropped, before the youngest are looked at; what has cycles here (a request, a rebalance) is far rarer.
YOUNG = 10_000


def collect_seldom() -> None:
    """Call once when everything is imported and loaded. For programs, not libraries: it is the whole process's setting."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
