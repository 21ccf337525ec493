"""Traces of single images (docs/tracing.md): who was asked, how long an image lay in Kafka, which batch it was in, and who read its label.

Off unless the environment says otherwise, and then nothing of OpenTelemetry is imported: every owner holds None instead of what this
package makes, and asks once for a request or a batch. No span holds a name of an image, a key, or what gives access to a job.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from convnet_kafka.errors import SettingsError
from convnet_kafka.settings import TracingSettings, load

if TYPE_CHECKING:
    from convnet_kafka.tracing.calls import CallTraces
    from convnet_kafka.tracing.provider import Tracing

# At the end of a process, for spans that nobody has been sent yet: a part of the time that a pod has.
FLUSH_S = 2.0
_EXPORTER, _DISABLED, _NONE = "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "none"


def is_on() -> bool:
    """Whether the environment asks for traces: OpenTelemetry's own variables, only that the default is none."""
    if os.environ.get(_DISABLED, "").strip().lower() == "true":
        return False
    return os.environ.get(_EXPORTER, "").strip().lower() not in {"", _NONE}


def calls(server: str) -> CallTraces:
    """What makes a client's spans with the OpenTelemetry of its application.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        from convnet_kafka.tracing.calls import CallTraces  # noqa: PLC0415 - OpenTelemetry is imported only where it is asked for
    except ImportError as error:
        raise SettingsError(f"tracing is asked for, and {error.name} is not installed: pip install 'convnet-kafka[tracing]'") from error
    return CallTraces(server)


def start(component: str) -> Tracing | None:
    """What makes this process's spans and sends them away, or None when no traces are asked for.

    Args:
        component: `server`, `classifier` or `client`; the service's name unless OTEL_SERVICE_NAME gives another.

    Raises:
        SettingsError: traces are asked for that cannot be had.
    """
    if not is_on():
        return None
    try:
        from convnet_kafka.tracing.provider import Tracing  # noqa: PLC0415 - OpenTelemetry is imported only where it is asked for
    except ImportError as error:
        raise SettingsError(
            f"{_EXPORTER} asks for traces, and {error.name} is not installed: pip install 'convnet-kafka[tracing]', or set it to {_NONE}"
        ) from error
    return Tracing.from_environment(component, load(TracingSettings))
