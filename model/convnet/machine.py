"""What this process may use of the machine: processors and memory, as the container's limits say (cgroup v1 and v2)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
# cgroup v1 says "no limit" with a number near 2^63; no machine has a pebibyte.
_NO_LIMIT_BYTES = 2**50


def processors(root: Path = _ROOT) -> int:
    """Processors this process may keep busy, 1 or more: those it may run on, and no more than its container's quota, rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def memory_bytes(root: Path = _ROOT) -> int | None:
    """Memory this process may still take: what is available, and no more than its container leaves. None where the system does not say."""
    available = _available(root / "proc/meminfo")
    left = [
        limit - (_number(folder / used) or 0) + _reclaimable(folder / "memory.stat")
        for folder, most, used in (
            *((folder, "memory.max", "memory.current") for folder in _cgroups(root, "")),
            *((folder, "memory.limit_in_bytes", "memory.usage_in_bytes") for folder in _cgroups(root, "memory")),
        )
        if (limit := _number(folder / most)) is not None and limit < _NO_LIMIT_BYTES
    ]
    known = [*left, *([available] if available is not None else [])]
    return max(0, min(known)) if known else None


def multiplies_bfloat16(root: Path = _ROOT) -> bool:
    """Whether the processor has units for products of bfloat16 matrices (Intel's AMX): they pay; where they are emulated they cost."""
    return any(line.startswith("flags") and "amx_bf16" in line.split() for line in _text(root / "proc/cpuinfo").splitlines())


def _quotas_v2(root: Path) -> Iterator[float]:
    """`cpu.max` holds "<quota> <period>" in microseconds, or "max <period>"."""
    for folder in _cgroups(root, ""):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _quotas_v1(root: Path) -> Iterator[float]:
    """The same in two files; a quota of -1 is none."""
    for folder in _cgroups(root, "cpu"):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            yield quota / period


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those around it: a limit on any of them counts.

    `/proc/self/cgroup` names the group (`0::/path` in v2, `4:cpu,cpuacct:/path` in v1). Inside a container that path may be the host's,
    and the group's files then stand at the mount itself, which is why the mount is always looked at.
    """
    mount = root / "sys/fs/cgroup" / controller
    paths = {mount}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if (controller in controllers.split(",")) if controller else controllers == "":
            group = mount / path.lstrip("/")
            paths |= {group, *(parent for parent in group.parents if parent.is_relative_to(mount))}
    yield from sorted(paths)


def _available(meminfo: Path) -> int | None:
    for line in _text(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _reclaimable(stat: Path) -> int:
    """Files' pages that the kernel drops when a program needs memory; they count as used until then."""
    found = dict(line.split(" ", 1) for line in _text(stat).splitlines() if " " in line)
    return int(found.get("total_inactive_file", found.get("inactive_file", "0")))


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
