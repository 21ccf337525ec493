"""A share of one core for a process, as a container's CPU limit gives it: cgroup v1 or v2. Linux, as root."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import click

_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
# The kernel's own period, and Kubernetes'.
_PERIOD_US = 100_000


class Quota:
    """A control group of our own while entered.

    Args:
        name: of the group; one that is left over is used again.
        cores: what all processes in it get together, more than 0.
    """

    def __init__(self, name: str, cores: float) -> None:
        self._one = (_V1 / "cpu.cfs_quota_us").exists() or not (_V2 / "cgroup.controllers").exists()
        self._folder = (_V1 if self._one else _V2) / name
        self._cores = cores

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(exist_ok=True)
            quota = round(self._cores * _PERIOD_US)
            if self._one:
                (self._folder / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (self._folder / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (self._folder / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        except OSError as error:
            raise click.ClickException(f"no CPU quota can be set: {error}; run this as root, on Linux with cgroups") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Its processes have ended by now; a group that is not empty stays, and does no harm."""
        try:
            self._folder.rmdir()
        except OSError:
            click.echo(f"{self._folder} could not be removed", err=True)

    def add(self, pid: int) -> None:
        """Put a process, with all its threads, under the quota."""
        (self._folder / "cgroup.procs").write_text(str(pid))
