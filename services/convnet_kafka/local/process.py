"""Children that must not outlive us, and ports that stay ours: what any part of the local stack needs from the system."""

from __future__ import annotations

import errno
import os
import queue
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from convnet_kafka.errors import LocalStackError

HOST = "127.0.0.1"

# Below Linux's ephemeral ports (from 32768) and Kubernetes' node ports (from 30000). A listener among the ephemeral ones can lose its
# port to an outgoing connection while it restarts, and a client that keeps trying to reconnect can even connect to itself.
_PORTS = range(20_000, 30_000)
_PORT_TRIES = 200

# Runs in the child before the real program: asks Linux for a signal when the thread that started us ends (prctl 1 is PR_SET_PDEATHSIG,
# which survives exec), leaves at once when the parent is already gone, and becomes the program. A Python of its own instead of
# `preexec_fn`, which may deadlock in a process with threads. Costs about 15 ms.
_TRAMPOLINE = """
import ctypes, os, sys
parent, signal_number, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
ctypes.CDLL(None).prctl(1, signal_number, 0, 0, 0)
if os.getppid() != parent:
    sys.exit(1)
os.execv(program[0], program)
"""


class _Spawner:
    """One thread per process that starts children and never ends.

    PR_SET_PDEATHSIG fires when the *thread* that forked ends, not the process: a child started from a pool's thread would die with it.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], dict[str, object]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pid = 0  # of the process whose thread serves the queue: a fork inherits the object without the thread

    def start(self, argv: list[str], options: dict[str, object]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._serve, name="spawner", daemon=True).start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._requests.put((future, argv, options))
        return future.result()

    def _serve(self) -> None:
        while True:
            future, argv, options = self._requests.get()
            try:
                future.set_result(subprocess.Popen(argv, **options))  # type: ignore[call-overload]  # noqa: S603 - our own program
            except BaseException as error:  # noqa: BLE001 - handed to the caller, where it belongs
                future.set_exception(error)


_spawner = _Spawner()


def spawn_bound(
    argv: Sequence[str],
    *,
    death_signal: int,
    output: IO[bytes],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    inherit: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child that the system ends when this process ends, however it ends.

    On Linux through PR_SET_PDEATHSIG. Elsewhere there is no such thing: the child is an ordinary one, and a caller that
    may leave it behind must be able to find it again.

    The child gets a session of its own, so that Ctrl-C in a terminal reaches only us and we decide the order of ending.

    Args:
        argv: program, as an absolute path, and arguments.
        death_signal: signal the child gets when we die.
        output: where its stdout and stderr go.
        cwd: its working folder.
        env: its whole environment; ours when None.
        inherit: file descriptors it keeps open.
    """
    full = list(argv)
    if sys.platform == "linux":
        full = [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid()), str(death_signal), *argv]
    options: dict[str, object] = {
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": subprocess.STDOUT,
        "cwd": cwd,
        "env": env,
        "pass_fds": tuple(inherit),
        "start_new_session": True,
    }
    return _spawner.start(full, options)


def port_is_free(port: int, host: str = HOST) -> bool:
    """Say whether a server could listen on a port now. A port still in TIME_WAIT counts as free, as it does for Java and asyncio."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def free_ports(count: int, host: str = HOST) -> list[int]:
    """Choose different ports nobody listens on. Another process may still take one first, so a start that fails on it is tried again.

    Raises:
        LocalStackError: no free ports were found.
    """
    chosen: list[int] = []
    # Not from `random` itself, which every training seeds: two programs that trained would choose the same ports, one after the other.
    for port in random.SystemRandom().sample(_PORTS, _PORT_TRIES):
        if port_is_free(port, host):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise LocalStackError(f"found no {count} free ports between {_PORTS.start} and {_PORTS.stop} on {host}; give one with --port")
