"""`convnet-kafka server`: the HTTP ingest server, in one process or several on one port."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from convnet_kafka import logs
from convnet_kafka.garbage import collect_seldom
from convnet_kafka.logs.level import LevelSwitch
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.processes import Supervisor
from convnet_kafka.server.run import StopRequest, serve
from convnet_kafka.server.transfer import LogConfig
from convnet_kafka.settings import KafkaSettings, ServerSettings, TopicSettings, load


@click.command(name="server")
@click.option("--host", help="Address to listen on.  [CONVNET_SERVER_HOST, default 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [CONVNET_SERVER_PORT, default 8080]")
@click.option("--processes", type=int, help="Processes that share the port.  [CONVNET_SERVER_PROCESSES, default 1]")
@click.option("--bootstrap-servers", help="Kafka, as host:port, comma separated.  [KAFKA_BOOTSTRAP_SERVERS, default 127.0.0.1:9092]")
@click.option("--topic-prefix", help="Prefix of all topics.  [KAFKA_TOPIC_PREFIX, default convnet]")
@click.option(
    "--signing-key-file",
    "signing_key_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File with the secret that signs job ids; give a second one to rotate.  [CONVNET_SERVER_SIGNING_KEY_FILES]",
)
@click.option(
    "--keys-file", type=click.Path(path_type=Path), help="File with the API keys, as `keys add` makes it.  [CONVNET_SERVER_KEYS_FILE]"
)
@click.option("--insecure", is_flag=True, help="Let other machines in without keys.  [CONVNET_SERVER_INSECURE]")
@click.option("--access-log", is_flag=True, help="Log every request.  [CONVNET_SERVER_ACCESS_LOG]")
@click.option("--create-topics/--check-topics", default=None, help="Create missing topics, or only check them.  [CONVNET_TOPICS_CREATE]")
@click.option("--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-json/--log-text", default=None, help="JSON lines or text; by default JSON unless stderr is a terminal.")
def command(
    host: str | None,
    port: int | None,
    processes: int | None,
    bootstrap_servers: str | None,
    topic_prefix: str | None,
    signing_key_files: tuple[Path, ...],
    keys_file: Path | None,
    insecure: bool,
    access_log: bool,
    create_topics: bool | None,
    log_level: str,
    log_json: bool | None,
) -> None:
    """Take images over HTTP, answer when Kafka holds them, and tell their labels.

    Every setting can also come from the environment; what is given here wins. SIGTERM ends it gracefully, Ctrl-C at once.
    SIGUSR1 has it log everything, every request too, SIGUSR2 what it logged before.
    """
    config = ServerConfig(
        kafka=load(KafkaSettings, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix),
        topics=load(TopicSettings, create=create_topics),
        server=load(
            ServerSettings,
            host=host,
            port=port,
            processes=processes,
            signing_key_files=list(signing_key_files) or None,
            keys_file=keys_file,
            insecure=insecure or None,
            access_log=access_log or None,
        ),
    )
    log = LogConfig(log_level, log_json)
    logs.configure(log.level, log.json)
    if config.server.processes > 1:
        asyncio.run(Supervisor(config, log).run())
    else:
        LevelSwitch().follow_signals()
        collect_seldom()
        asyncio.run(_alone(config))


async def _alone(config: ServerConfig) -> None:
    stop = StopRequest()
    stop.on_signals()
    await serve(config, stop)
