"""What processes of a benchmark have used so far: CPU by kind, memory by process. Children count with their parent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

MICRO = 1e6
NANO = 1e9
_MIB = 2**20
# A thread's name has 15 characters at most.
_COMPILER = re.compile(r"C[12] Compiler")


def kind(name: str) -> str:
    """`classifier-2` and its like are counted together as `classifier`."""
    return name.rsplit("-", 1)[0] if name[-1].isdigit() else name


def cpu_by_process(processes: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each kind of process."""
    totals: dict[str, float] = {}
    for name, pid in processes.items():
        for process in _family(pid):
            times = process.cpu_times()
            totals[kind(name)] = totals.get(kind(name), 0.0) + times.user + times.system
    return totals


def resident_mib(processes: Mapping[str, int]) -> dict[str, float]:
    """Resident memory of each process now, in MiB."""
    return {name: sum(process.memory_info().rss for process in _family(pid)) / _MIB for name, pid in processes.items()}


def peak_mib(pid: int) -> float:
    """Peak resident memory of a process in MiB, its largest child included."""
    peaks = []
    for process in _family(pid):
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            peaks += [int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        else:
            peaks.append(process.memory_info().rss / _MIB)
    return max(peaks)


def compiling_seconds(pid: int) -> float | None:
    """CPU seconds so far of the threads with which a JVM compiles; None where the system does not tell of threads by name."""
    nanoseconds = 0
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():
        return None
    for task in tasks.iterdir():
        with suppress(OSError):  # it has ended since
            if _COMPILER.match((task / "comm").read_text()):
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / NANO


def _family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
