"""Figures in one line for a log, and as JSON for scripts."""

from __future__ import annotations

import dataclasses
import time

import orjson

from convnet_kafka.diagnosis.top.figures import Figures
from convnet_kafka.diagnosis.top.hints import Hint
from convnet_kafka.diagnosis.top.view import came, done
from convnet_kafka.diagnosis.words import count, rate, span


def line(seen: Figures, hints: list[Hint]) -> str:
    """One moment in one line."""
    parts = [time.strftime("%H:%M:%S")]
    if seen.seconds:
        parts.append(f"in {rate(came(seen))}/s, done {rate(done(seen))}/s")
    for lane in seen.lanes:
        p95 = lane.latency_s["p95"]
        told = f"{lane.lane}: {count(lane.waiting)} wait"
        parts.append(told + (f", 95 % within {span(p95)}" if p95 is not None else ""))
    if seen.brokers is None:
        parts.append("Kafka does not answer")
    for name, replicas in (("servers", seen.servers), ("classifiers", seen.classifiers)):
        if replicas:
            parts.append(f"{sum(each.ready for each in replicas)} of {len(replicas)} {name} ready")
    if seen.dead_letters:
        parts.append(f"{count(seen.dead_letters)} dead letters")
    if hints:
        parts.append(f"{len(hints)} to act on: {hints[0].what}")
    return "; ".join(parts)


def as_json(seen: Figures, hints: list[Hint]) -> bytes:
    """Everything that is known of one moment, as one line."""
    value = dataclasses.asdict(seen) | {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "hints": [dataclasses.asdict(hint) for hint in hints],
    }
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
