"""One training at a time in a models folder: a file that says who trains, kept fresh by a heartbeat. Needs no flock, so it works on NFS.

```
models/.trainer-7.lock     held: owner as JSON; its time of change is the heartbeat
models/.trainer-7.free     given back
```
To take the lock is to create the file after the newest one, exclusively (`O_EXCL`), when that one is free or stale: of many that try,
one succeeds. Ages are measured by the volume's own clock, so that machines whose clocks differ agree. Aliases have another lock: to
promote or roll back never waits for a trainer.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from convnet.errors import RegistryError, TrainerBusy


class Owner(BaseModel):
    """Who holds the lock.

    Attributes:
        host: name of the machine or pod.
        process: its id there.
        boot: identifies the machine's run, so that a process id is not mistaken for one of before a restart.
        born: when that process started, in the kernel's ticks: ids are used again.
        since: when the lock was taken, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    process: int
    boot: str
    born: str
    since: datetime

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Patience:
    """The lock's times.

    Attributes:
        beat_s: seconds between two heartbeats.
        late_s: past this a holder is suspected; who comes then waits for a beat or for `stale_s`. Converting a model can hold
            Python, and with it the heart, for seconds.
        stale_s: past this the holder is taken for dead.
    """

    beat_s: float = 5.0
    late_s: float = 20.0
    stale_s: float = 60.0


class TrainerLock:
    """The lock while it is held.

    Args:
        path: its file.
        beat_s: seconds between two heartbeats.
    """

    def __init__(self, path: Path, beat_s: float) -> None:
        self._path = path
        self._beat_s = beat_s
        self._lost = False
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="trainer-lock", daemon=True)

    def check(self) -> None:
        """Raise TrainerBusy when another took the lock because this process was not heard of, for example while it was suspended."""
        if self._lost or not self._path.exists():
            raise TrainerBusy(
                f"this training was not heard of for so long that another took over {self._path.parent}; "
                "the same command goes on from the last epoch once that one is done"
            )

    def start(self) -> None:
        """Start the heart."""
        self._heart.start()

    def release(self) -> None:
        """Give the lock back."""
        self._stop.set()
        self._heart.join()
        if not self._lost:
            try:
                self._path.rename(self._path.with_suffix(".free"))
            except OSError:
                return  # the volume is gone or another took over: either way the file turns stale by itself

    def _beat(self) -> None:
        while not self._stop.wait(self._beat_s):
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self._lost = True
                return
            except OSError:
                continue  # a volume that fails for a moment; one that fails for long makes the lock stale, as it should


@contextmanager
def only_trainer(models: Path, patience: Patience | None = None) -> Iterator[TrainerLock]:
    """Hold the lock of a models folder, which must exist.

    Raises:
        TrainerBusy: another training holds it; the message says who.
        RegistryError: the folder cannot be written.
    """
    times = patience or Patience()
    try:
        lock = TrainerLock(_take(models, times), times.beat_s)
    except OSError as error:
        raise RegistryError(f"cannot write into the models folder {models}: {error.strerror}; check space and permissions") from error
    lock.start()
    try:
        yield lock
    finally:
        lock.release()


def _take(models: Path, times: Patience) -> Path:
    while True:
        newest = _newest(models)
        if newest is not None and not _vacant(models, newest, times):
            time.sleep(min(1.0, times.beat_s))  # suspected: until it beats, ends or turns stale
            continue
        mine = models / f".trainer-{_number(newest) + 1 if newest else 1}.lock"
        try:
            with mine.open("x", encoding="utf-8") as file:
                file.write(_myself().model_dump_json())
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            continue
        others = [path for path in _all(models) if path != mine]
        if any(_number(path) >= _number(mine) for path in others):
            mine.unlink(missing_ok=True)  # we looked long ago: meanwhile others took the lock and gave it back
            continue
        for path in others:
            path.unlink(missing_ok=True)
        return mine


def _vacant(models: Path, newest: Path, times: Patience) -> bool:
    """Whether the newest holder is gone; False when it may be. Raises TrainerBusy when it is surely there."""
    if newest.suffix == ".free":
        return True
    try:
        age = _now(models) - newest.stat().st_mtime
        owner = _owner(newest)
    except FileNotFoundError:
        return False  # given back this moment: look again
    if age > times.stale_s or (owner is not None and _dead(owner)):
        return True
    if age > times.late_s:
        return False
    raise TrainerBusy(
        f"another training is running in {models}: {owner or 'one that has just started'}, last heard of {max(0.0, age):.0f} s ago; "
        "wait for it, or give another folder with --models"
    )


def _dead(owner: Owner) -> bool:
    """Whether the owner ran here and does no more: then nobody need wait for the lock to turn stale."""
    me = _myself()
    return (owner.host, owner.boot) == (me.host, me.boot) and _born(owner.process) != owner.born


def _myself() -> Owner:
    return Owner(host=socket.gethostname(), process=os.getpid(), boot=_boot(), born=_born(os.getpid()), since=datetime.now(UTC))


def _owner(path: Path) -> Owner | None:
    try:
        return Owner.model_validate_json(path.read_bytes())
    except ValidationError:
        return None  # created this moment, not yet written


def _now(models: Path) -> float:
    """The time by the volume's clock, in seconds."""
    probe = models / f".trainer-clock-{uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _boot() -> str:
    """Which run of which machine this is, and which of its containers: elsewhere process ids mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip() + f"-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "unknown"


def _born(process: int) -> str:
    """When a process started; empty when there is none, "?" where the system does not say."""
    try:
        # The name, in brackets, may hold anything; the 20th field after it is the start.
        return Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return "" if Path("/proc/self").exists() else "?"
    except OSError:
        return "?"


def _newest(models: Path) -> Path | None:
    # Of a pair with one number the held one counts.
    return max(_all(models), key=lambda path: (_number(path), path.suffix == ".lock"), default=None)


def _all(models: Path) -> list[Path]:
    return [path for suffix in ("lock", "free") for path in models.glob(f".trainer-*.{suffix}") if path.stem.rpartition("-")[2].isdigit()]


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
