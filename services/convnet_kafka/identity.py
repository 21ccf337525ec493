"""Who this process is, for brokers' logs, probes and results: in a cluster the pod's name and a number."""

from __future__ import annotations

import os
import socket


def this_process() -> str:
    """`HOST-PID`; another process of another pod, or after a restart, has another."""
    return f"{socket.gethostname()}-{os.getpid()}"
