"""docs/logs.md lists every event that is logged, at its levels and with its fields, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

from support.log_events import LogEvent, log_events

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "logs.md").read_text("utf-8")
LOGGED = log_events(ROOT / "services" / "convnet_kafka")


def listed() -> dict[str, LogEvent]:
    """What the page says."""
    rows = re.findall(r"^\| `([^`]+)` \| ([a-z, ]+) \|([^|]*)\|[^|]*\|$", PAGE, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: LogEvent(set(levels.split(", ")), set(re.findall(r"`([a-z_]+)`", fields))) for name, levels, fields in rows}


def test_the_page_lists_every_event_and_no_other() -> None:
    assert set(listed()) == set(LOGGED), {name: LOGGED[name].places for name in LOGGED.keys() - listed().keys()}


def test_levels_and_fields_are_those_that_the_page_says() -> None:
    page = listed()
    assert {name: event.levels for name, event in page.items()} == {name: event.levels for name, event in LOGGED.items()}
    missing = {name: sorted(event.fields - page[name].fields) for name, event in LOGGED.items() if event.fields - page[name].fields}
    assert missing == {}


def test_no_event_takes_what_must_not_stand_in_a_log() -> None:
    forbidden = {"key_text", "token", "authorization", "content", "value", "body", "password", "secret", "name"}
    assert {name: event.fields & forbidden for name, event in LOGGED.items() if event.fields & forbidden} == {}
