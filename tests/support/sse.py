"""A reader of Server-Sent Events that does what a browser's EventSource does (WHATWG HTML, section 9.2.6), and connects only when told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass
class Event:
    """One event as it would be dispatched."""

    name: str
    data: dict[str, Any]
    last_id: str


@dataclass
class EventSource:
    """Remembers the last id from one connection to the next.

    Attributes:
        last_id: what it will resume with; empty for nothing.
        retry_ms: what the server asked for.
        comments: lines that were comments.
    """

    http: aiohttp.ClientSession
    path: str
    last_id: str = ""
    retry_ms: int | None = None
    comments: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0

    async def connect(self, **query: str) -> AsyncIterator[Event]:
        """The events of one connection, until it ends; leaving it breaks it off."""
        sent = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        async with self.http.get(self.path, params=query, headers=sent) as answer:
            self.status, self.headers = answer.status, dict(answer.headers)
            if answer.status != 200:
                return
            assert answer.content_type == "text/event-stream"
            name, data, identity = "", "", self.last_id
            async for raw in answer.content:
                text = raw.decode().rstrip("\n")
                key, _, value = text.partition(":")
                value = value.removeprefix(" ")
                if not text:
                    self.last_id = identity
                    if data:
                        yield Event(name or "message", json.loads(data), identity)
                    name, data = "", ""
                elif not key:
                    self.comments += 1
                elif key == "retry":
                    self.retry_ms = int(value)
                elif key == "id":
                    identity = value
                elif key == "event":
                    name = value
                else:
                    assert key == "data", text
                    data += value

    async def all(self, **query: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Labels and the end of one connection, like `http.stream`."""
        labels, end = [], None
        async for event in self.connect(**query):
            assert end is None, "nothing follows the end"
            if event.name == "label":
                assert event.last_id == event.data["cursor"]
                labels.append(event.data)
            elif event.name == "end":
                end = event.data
            else:
                assert event.name == "progress"
        return labels, end
