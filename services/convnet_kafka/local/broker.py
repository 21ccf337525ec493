"""A real Apache Kafka on this machine: one node, KRaft, on 127.0.0.1, owned by whoever starts it and gone when they are.

Owns the broker's process, its data folder while it runs, and nothing else. Records outlive `kill -9` of everything, not a power cut.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs
from rich.console import Console

from convnet_kafka.errors import LocalStackError
from convnet_kafka.local import brokerprobe, brokersettings, brokerstorage, startcache
from convnet_kafka.local.brokersettings import BrokerSettings
from convnet_kafka.local.brokerstorage import serious_lines
from convnet_kafka.local.folder import FolderLock, Owner
from convnet_kafka.local.jars import ensure_jars
from convnet_kafka.local.java import Java, find_java, java_at
from convnet_kafka.local.kafkajars import KAFKA_JARS, Jar
from convnet_kafka.local.process import HOST, free_ports, port_is_free, spawn_bound

# A start takes 1 to 2 s on two idle cores; a machine busy with a test suite may need ten times that.
START_DEADLINE_S = 60.0
# A stop takes 0.3 s; past this the broker is killed, which costs it a log check at its next start.
STOP_DEADLINE_S = 20.0
# Another process may take a port between our choice and the broker's start.
_PORT_ATTEMPTS = 3
_TEMPORARY_PREFIX = "convnet-kafka-"


def default_data_dir() -> Path:
    """The per-user folder of the local broker that keeps its data (`XDG_DATA_HOME` moves it)."""
    return platformdirs.user_data_path("convnet-kafka") / "broker"


class LocalBroker:
    """One Kafka broker, as a context manager. Not for use by several threads at once; `start` may be called from any thread.

    Args:
        data_dir: folder to keep the data in; None takes a temporary one that `stop` removes.
        port: the broker's port on 127.0.0.1; None chooses a free one and keeps it over restarts.
        message_max_bytes: largest record batch in bytes.
        heap_mib: fixed heap of the JVM in MiB; None derives it from `message_max_bytes`.
        java: path of the `java` program; None finds one.
        cache_dir: where Kafka's jars are kept; None takes the user's cache.
        overrides: further Kafka settings (`server.properties`) that win over ours.
        jvm_flags: further JVM flags, after ours.
        advertised: `host:port` by which other machines know the broker; it then also listens on all addresses at that port.
        start_deadline_s: seconds a start may take.
        log_to_stdout: Kafka's log goes to our stdout as well, as a container's should.
        extra_jars: loaded beside Kafka's own, for what `overrides` name.
        start_cache: start with what an earlier start left for quicker ones, and prepare it once; False for the one that prepares it.
        console: where fetching the jars, and what else is done once, is shown; stderr by default.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int | None = None,
        *,
        message_max_bytes: int = brokersettings.DEFAULT_MESSAGE_MAX_BYTES,
        heap_mib: int | None = None,
        java: Path | None = None,
        cache_dir: Path | None = None,
        overrides: Mapping[str, str] | None = None,
        jvm_flags: Sequence[str] = (),
        advertised: str | None = None,
        log_to_stdout: bool = False,
        start_deadline_s: float = START_DEADLINE_S,
        extra_jars: Sequence[Jar] = (),
        start_cache: bool = True,
        console: Console | None = None,
    ) -> None:
        self._temporary = data_dir is None
        # Absolute, because the broker runs inside the folder and the owner may change its own.
        self._folder = None if data_dir is None else data_dir.absolute()
        self._asked_port = port
        self._port = port
        self._controller_port: int | None = None
        self._message_max_bytes = message_max_bytes
        self._heap_mib = heap_mib
        self._java = java
        self._cache_dir = cache_dir
        self._overrides = dict(overrides or {})
        self._jvm_flags = list(jvm_flags)
        self._advertised = advertised
        self._log_to_stdout = log_to_stdout
        self._start_deadline_s = start_deadline_s
        self._jars = (*KAFKA_JARS, *extra_jars)
        self._start_cache = start_cache
        self._console = console if console is not None else Console(file=sys.stderr)
        self._lock: FolderLock | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begin = 0  # bytes of the log that earlier runs wrote

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def data_dir(self) -> Path:
        """The data folder.

        Raises:
            LocalStackError: it is a temporary one and the broker has not been started.
        """
        if self._folder is None:
            raise LocalStackError("the local broker has no data folder yet: start it first")
        return self._folder

    @property
    def port(self) -> int:
        """The broker's port.

        Raises:
            LocalStackError: it was left to us and the broker has not been started.
        """
        if self._port is None:
            raise LocalStackError("the local broker has no port yet: start it first")
        return self._port

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients, `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, None when it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the broker's process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        """Kafka's own log file, rotated at 10 MB."""
        return self.data_dir / brokersettings.LOG_FILE

    def start(self) -> None:
        """Start the broker and return when topics can be created and groups can commit. Does nothing when it runs.

        Raises:
            LocalStackError: Java or the jars are missing, the port or the folder is in use, or the broker did not come up; says which.
        """
        if self.is_running:
            return
        self._forget_process()
        java = java_at(self._java) if self._java is not None else find_java()
        jars = ensure_jars(cache_dir=self._cache_dir, jars=self._jars, console=self._console)
        cached = startcache.flags(java, jars[: len(KAFKA_JARS)], self._start_once, self._console) if self._start_cache else []
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX))
        try:
            self._lock = FolderLock(self._folder)
            self._lock.acquire()
            self._run(java, [*cached, "-cp", ":".join(map(str, jars))], self._lock)
        except BaseException:
            self.kill()
            self._remove_temporary()
            raise

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> None:
        """End the broker cleanly, killing it past the deadline, and remove a temporary folder. Safe to call at any time, and twice.

        Args:
            deadline_s: seconds the broker may take.
        """
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(deadline_s)
        self.kill()
        self._remove_temporary()

    def kill(self) -> None:
        """End the broker as `kill -9` does. Data and ports are kept, also of a temporary folder, for `start` or `restart`."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._forget_process()

    def restart(self) -> None:
        """Start again on the same data and ports, after a clean end of the broker if it runs.

        Raises:
            LocalStackError: as `start`.
        """
        if self._process is not None and self.is_running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_DEADLINE_S)
        self.kill()
        self.start()

    def _start_once(self, jvm_flag: str) -> None:
        """Start and end another broker, with a folder and ports of its own, and one more JVM flag."""
        other = LocalBroker(java=self._java, cache_dir=self._cache_dir, jvm_flags=[jvm_flag], start_cache=False)
        try:
            other.start()
        finally:
            other.stop(deadline_s=START_DEADLINE_S)

    def _run(self, java: Java, classes: Sequence[str], lock: FolderLock) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            port, controller_port = self._choose_ports()
            settings = BrokerSettings(port, controller_port, self._message_max_bytes, self._heap_mib, self._advertised, self._overrides)
            self._write_settings(settings)
            brokerstorage.prepare(self.data_dir, java, classes, self._start_deadline_s)
            with (self.data_dir / brokersettings.JVM_LOG_FILE).open("ab") as file:
                self._process = spawn_bound(
                    [
                        str(java.executable),
                        *brokersettings.jvm_flags(java, settings.heap),
                        *self._jvm_flags,
                        *classes,
                        "kafka.Kafka",
                        brokersettings.PROPERTIES_FILE,
                    ],
                    # Asks for a clean end: data that is kept then starts without a log check.
                    death_signal=signal.SIGTERM,
                    output=sys.stdout.buffer if self._log_to_stdout else file,
                    cwd=self.data_dir,
                    inherit=[lock.fd],
                )
            lock.write_owner(Owner(os.getpid(), self._process.pid, port))
            self._port = port
            self._controller_port = controller_port
            if self._wait_until_ready(self._process):
                return
            self._process.wait()
            if attempt == _PORT_ATTEMPTS or not self._lost_its_port():
                raise LocalStackError(
                    f"the local Kafka ended while it started (exit code {self._process.returncode}): {self._complaint()}; "
                    f"its log is {self._kept_log()}"
                )
            self._port = self._asked_port
            self._controller_port = None

    def _choose_ports(self) -> tuple[int, int]:
        """Return the broker's and the controller's port: those of the last run, the one asked for, or free ones.

        Raises:
            LocalStackError: the broker's port is in use.
        """
        if self._port is not None and not port_is_free(self._port):
            raise LocalStackError(
                f"port {self._port} on {HOST} is in use by another program; stop it, choose another port with --port, "
                "or set KAFKA_BOOTSTRAP_SERVERS if that is the Kafka you want to use"
            )
        first, second = free_ports(2)
        controller = self._controller_port
        if controller is None or not port_is_free(controller):
            controller = second if second != self._port else first
        port = self._port if self._port is not None else first
        return port, controller

    def _write_settings(self, settings: BrokerSettings) -> None:
        try:
            (self.data_dir / brokersettings.LOG_FOLDER).mkdir(exist_ok=True)
            (self.data_dir / brokersettings.PROPERTIES_FILE).write_text(brokersettings.server_properties(settings), encoding="utf-8")
            (self.data_dir / brokersettings.LOG4J_FILE).write_text(
                brokersettings.log4j_properties(console=self._log_to_stdout), encoding="utf-8"
            )
            self._log_begin = self.log_path.stat().st_size if self.log_path.exists() else 0
            # Only this start's output tells why this start failed.
            (self.data_dir / brokersettings.JVM_LOG_FILE).write_bytes(b"")
        except OSError as error:
            raise LocalStackError(
                f"the data folder {self.data_dir} cannot be written ({error.strerror}); free some space or make it writable"
            ) from error

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the broker creates topics and keeps positions. False when it ended instead.

        Raises:
            LocalStackError: it did not come up in time.
        """
        if brokerprobe.wait_until_it_serves(HOST, self.port, time.monotonic() + self._start_deadline_s, lambda: process.poll() is None):
            return True
        if process.poll() is None:
            raise LocalStackError(f"the local Kafka did not come up within {self._start_deadline_s:.0f} s; its log is {self._kept_log()}")
        return False

    def _lost_its_port(self) -> bool:
        """Whether a start failed because somebody took a port that we chose."""
        return "Address already in use" in self._complaint()

    def _complaint(self) -> str:
        """What the broker said last in this run: in its log when it got that far, else on the JVM's output."""
        for path, begin in ((self.log_path, self._log_begin), (self.data_dir / brokersettings.JVM_LOG_FILE, 0)):
            with contextlib.suppress(OSError):
                if reason := serious_lines(path.read_bytes()[begin:]):
                    return reason
        return "it gave no reason"

    def _kept_log(self) -> str:
        """Name the log that tells most, copied out of a temporary folder that is about to go."""
        log = self.log_path if self.log_path.exists() else self.data_dir / brokersettings.JVM_LOG_FILE
        if not self._temporary:
            return str(log)
        return str(shutil.copyfile(log, self.data_dir.with_name(f"{self.data_dir.name}-failed.log")))

    def _forget_process(self) -> None:
        """Reap an ended or killed process and give the folder free."""
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _remove_temporary(self) -> None:
        if self._temporary and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
