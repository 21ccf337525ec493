"""How the local Kafka is set: its `server.properties`, its logging and its JVM, each number with its reason. Pure text, no I/O.

Tuned for a laptop that also runs the clients: few threads, a small fixed heap, little work when idle.
All paths are relative: the broker runs with its data folder as working folder, so no path needs escaping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convnet_kafka.local.java import Java
from convnet_kafka.local.process import HOST

MIB = 1024 * 1024

# Folders and files inside a broker's data folder.
KAFKA_FOLDER = "kafka"
LOG_FOLDER = "log"
LOG_FILE = f"{LOG_FOLDER}/kafka.log"
JVM_LOG_FILE = f"{LOG_FOLDER}/jvm.log"
PROPERTIES_FILE = "server.properties"
LOG4J_FILE = "log4j2.properties"

# The largest image by default (10 MiB) plus headers and room to try a larger one without touching the broker.
DEFAULT_MESSAGE_MAX_BYTES = 12 * MIB
# A record comes in a request that names its topic and producer; 1 MiB is far more than that takes, and more than librdkafka batches.
_REQUEST_ROOM_BYTES = MIB
# Requests being read or waiting at once, in largest requests: enough to keep both cores busy, and it bounds the heap.
_REQUESTS_IN_MEMORY = 4
# More gained nothing in CPU per record and cost its size in memory: 285 MiB resident with 256, 317 with 384 (benchmarks/broker_jvm.py).
_HEAP_MIB = 256
_HEAP_BESIDE_REQUESTS_MIB = 192

# The first Java that warns about Kafka's use of sun.misc.Unsafe, and of native codecs, unless told that it is wanted.
_JAVA_THAT_WARNS = 24

_NODE_ID = 1

_CONSOLE = """appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c)%n
rootLogger.appenderRef.console.ref=console
"""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What may differ from one local broker to another.

    Attributes:
        port: of the broker, on 127.0.0.1.
        controller_port: of the KRaft controller in the same process.
        message_max_bytes: largest record batch, in bytes, 1024 or more.
        heap_mib: fixed heap in MiB; None derives it from `message_max_bytes`.
        advertised: `host:port` by which other machines know the broker; it then also listens on all addresses at that port.
        overrides: further Kafka settings that win over ours.
    """

    port: int
    controller_port: int
    message_max_bytes: int = DEFAULT_MESSAGE_MAX_BYTES
    heap_mib: int | None = None
    advertised: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def request_max_bytes(self) -> int:
        """The largest request the broker reads, in bytes."""
        return self.message_max_bytes + _REQUEST_ROOM_BYTES

    @property
    def heap(self) -> int:
        """Heap in MiB: room for the requests in memory beside Kafka's own objects."""
        if self.heap_mib is not None:
            return self.heap_mib
        return max(_HEAP_MIB, _HEAP_BESIDE_REQUESTS_MIB + _REQUESTS_IN_MEMORY * self.request_max_bytes // MIB)


def server_properties(settings: BrokerSettings) -> str:
    """Return the text of `server.properties`."""
    listeners = {"BROKER": f"{HOST}:{settings.port}", "CONTROLLER": f"{HOST}:{settings.controller_port}"}
    advertised = {"BROKER": listeners["BROKER"]}
    if settings.advertised is not None:
        # A listener of its own: what the broker says to itself, and what its owner asks it, stays on this machine and needs no name,
        # which may not resolve yet.
        listeners["CLIENTS"] = f"0.0.0.0:{settings.advertised.rpartition(':')[2]}"
        advertised["CLIENTS"] = settings.advertised
    properties: dict[str, object] = {
        # One process that is broker and controller, seen by this machine only unless it is advertised. Voters are named here and not in
        # the data ("static quorum"), so that the same data may start on other ports.
        "process.roles": "broker,controller",
        "node.id": _NODE_ID,
        "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"{_NODE_ID}@{HOST}:{settings.controller_port}",
        "log.dirs": KAFKA_FOLDER,
        # A missing topic is a mistake to hear about; unclean elections lose acknowledged records.
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        # There is one broker.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A handful of groups: the usual 50 partitions each would only be 50 folders to open at every start.
        "offsets.topic.num.partitions": 2,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # Groups (KIP-848). The broker owns these times: a killed classifier's images go on after at most 10 s, where the default
        # waits 45 s. The minima must come down with them. A change of members is assigned after 100 ms, not 1 s.
        "group.consumer.heartbeat.interval.ms": 1000,
        "group.consumer.min.heartbeat.interval.ms": 1000,
        "group.consumer.session.timeout.ms": 10_000,
        "group.consumer.min.session.timeout.ms": 6000,
        "group.consumer.assignment.interval.ms": 100,
        # The classic protocol's wait for more members to come is for fleets.
        "group.initial.rebalance.delay.ms": 0,
        # Images live 7 days; positions must outlive them, or a group that rested a week would start anew.
        "offsets.retention.minutes": 14 * 24 * 60,
        # The largest image decides what may come in; requests beside it are bounded, or a burst of large ones would fill the heap.
        "message.max.bytes": settings.message_max_bytes,
        "replica.fetch.max.bytes": settings.message_max_bytes,
        "socket.request.max.bytes": settings.request_max_bytes,
        "queued.max.request.bytes": _REQUESTS_IN_MEMORY * settings.request_max_bytes,
        # Retention deletes whole segments: 256 MiB gives disk space back in small steps. An index of 2 MiB holds such a segment four times
        # over, where the default reserves 10 MiB twice for each partition.
        "log.segment.bytes": 256 * MIB,
        "log.index.size.max.bytes": 2 * MIB,
        "offsets.topic.segment.bytes": 16 * MIB,
        # Threads: the clients need the cores too. One network thread and two for I/O measured the same on two cores and leave larger
        # machines waiting.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "group.coordinator.threads": 1,
        "group.coordinator.background.threads": 1,
        # Compacts the positions, the control topic and little else: 4 MiB know about 150,000 keys, the default takes 128 MiB.
        "log.cleaner.dedupe.buffer.size": 4 * MIB,
        # Metadata is written at once (default: wait 25 ms for more), and the idle controller writes every 5 s instead of twice a second.
        "controller.quorum.append.linger.ms": 5,
        "metadata.max.idle.interval.ms": 5000,
        # After `kill -9` the controller refuses the broker's new process until the old one's session ends: 5 s in all, by default 12 s.
        # Shorter ones would fence the broker when the machine is merely busy.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # Nobody reads JMX here.
        "metric.reporters": "",
    }
    properties.update(settings.overrides)
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def log4j_properties(*, console: bool = False) -> str:
    """Return log4j2's settings: one file in the data folder, at most 4 x 10 MB. Earlier words go to the JVM's output.

    Args:
        console: log to the JVM's output as well.
    """
    return f"""status=error
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={LOG_FILE}
appender.file.filePattern={LOG_FILE}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %m (%c)%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
# Every start would repeat some 400 settings for each part of the broker; they stand in {PROPERTIES_FILE}.
logger.settings.name=org.apache.kafka.common.config
logger.settings.level=warn
{_CONSOLE if console else ""}"""


def jvm_flags(java: Java, heap_mib: int) -> list[str]:
    """Return the JVM flags of the broker.

    Args:
        java: the runtime, whose version decides what it warns about.
        heap_mib: fixed heap in MiB.
    """
    flags = [
        # A heap of fixed size: it neither grows into the clients' memory nor spends time on resizing.
        f"-Xms{heap_mib}m",
        f"-Xmx{heap_mib}m",
        # The smallest of the collectors: 281 MiB resident where G1 takes 426, and never more CPU per record (benchmarks/broker_jvm.py).
        "-XX:+UseSerialGC",
        # Full compilation: 25 us per record of small requests once warm, where C1 alone stays at 45. It costs half a second of the start
        # and more CPU in the first minute, so a broker that lives for seconds may lower it.
        "-XX:TieredStopAtLevel=4",
        # Out of memory means a broker in an unknown state: end, so that the owner sees it.
        "-XX:+ExitOnOutOfMemoryError",
        # No statistics file in the temporary folder, which a killed JVM would leave behind.
        "-XX:-UsePerfData",
        f"-XX:ErrorFile={LOG_FOLDER}/jvm-crash-%p.log",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={LOG4J_FILE}",
    ]
    if java.major >= _JAVA_THAT_WARNS:
        flags += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return flags
