"""The kinds of faults. Each does one thing to the arena, for as long as it lasts, and says in a few words what it did."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from random import Random

from convnet.errors import ConvnetError
from convnet.registry import Registry
from storm.arena import Arena
from storm.stream import POISON

# Longer than the groups' session timeout (10 s): the member comes back to find that it was expelled.
EXPELLED_S = 13.0


def kill_classifier(arena: Arena, random: Random) -> str:
    """`kill -9` of one that works."""
    return _signal(random.choice(arena.classifiers() or [0]), signal.SIGKILL)


def pause_classifier(arena: Arena, random: Random) -> str:
    """SIGSTOP and SIGCONT, sometimes for so long that others have taken its work."""
    return _pause([random.choice(arena.classifiers() or [0])], EXPELLED_S if random.random() < 0.25 else random.uniform(0.5, 4))


def kill_server(arena: Arena, random: Random) -> str:
    """`kill -9` of the server, or of one of the processes that share its port."""
    return _signal(random.choice(arena.servers() or [0]), signal.SIGKILL)


def pause_server(arena: Arena, random: Random) -> str:
    """SIGSTOP and SIGCONT of the server with all its processes."""
    return _pause(arena.servers(), random.uniform(0.5, 4))


def kill_broker(arena: Arena, _random: Random) -> str:
    """`kill -9` of Kafka; it is started again on its data."""
    arena.kill_broker()
    return "started again"


def pause_broker(arena: Arena, random: Random) -> str:
    """SIGSTOP and SIGCONT of Kafka."""
    with arena.broker_lock:
        return _pause([arena.broker.pid or 0], random.uniform(0.5, 6))


def add_replica(arena: Arena, _random: Random) -> str:
    """One classifier more."""
    return arena.add_classifier()


def remove_replica(arena: Arena, random: Random) -> str:
    """One classifier less, by SIGTERM; where none was added, one of the others, which is started again."""
    removed = arena.remove_classifier()
    return removed if removed is not None else _signal(random.choice(arena.classifiers() or [0]), signal.SIGTERM)


def promote(arena: Arena, random: Random) -> str:
    """Another version becomes stable."""
    registry = arena.registry
    stable = registry.aliases().stable
    version = random.choice([number for number in registry.versions() if number != stable])
    registry.set_alias("stable", version)
    return f"version {version}"


def cut_network(arena: Arena, random: Random) -> str:
    """No connection to Kafka for a while."""
    seconds = random.uniform(0.2, 5)
    ended = arena.network.cut()
    try:
        time.sleep(seconds)
    finally:
        arena.network.mend()
    return f"{ended} connections, for {seconds:.1f} s"


def fill_volume(arena: Arena, random: Random) -> str:
    """The models' volume is full, and a promotion is tried: it fails, or it is done whole."""
    filler = arena.volume / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.tell() < 64 * 2**20:  # more than the volume holds
                file.write(bytes(2**20))
        before = arena.registry.aliases().stable
        try:
            done = promote(arena, random)
        except (ConvnetError, OSError) as error:
            if Registry(arena.registry.folder).aliases().stable != before:
                raise
            done = f"refused: {type(error).__name__}"
        time.sleep(random.uniform(0.5, 2))
    finally:
        filler.unlink(missing_ok=True)
    return done


def send_poison(arena: Arena, random: Random) -> str:
    """The next job has a picture that ends or hangs every classifier that predicts it."""
    kind = random.choice(sorted(POISON))
    arena.pictures.poison(kind)
    return kind


KINDS: Mapping[str, Callable[[Arena, Random], str]] = {
    "classifier killed": kill_classifier,
    "classifier paused": pause_classifier,
    "server killed": kill_server,
    "server paused": pause_server,
    "broker killed": kill_broker,
    "broker paused": pause_broker,
    "replica added": add_replica,
    "replica removed": remove_replica,
    "model promoted": promote,
    "network cut": cut_network,
    "volume full": fill_volume,
    "poison sent": send_poison,
}


def _signal(pid: int, number: signal.Signals) -> str:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return f"process {pid}"
    return "nobody there"


def _pause(pids: list[int], seconds: float) -> str:
    """Whatever happens, what was stopped goes on."""
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)
    return f"processes {pids} for {seconds:.1f} s"
