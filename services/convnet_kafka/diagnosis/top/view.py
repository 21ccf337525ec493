"""How figures look on a terminal: what happens, what to act on, lanes, classifiers, servers. The same tables without colours elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from convnet_kafka.diagnosis.top.figures import ClassifierFigures, Figures, LaneFigures, ServerFigures, StrangerFigures
from convnet_kafka.diagnosis.top.hints import Hint
from convnet_kafka.diagnosis.words import amount, count, plain, ranges, rate, share, span
from convnet_kafka.messages import Lane

# As many looks as the small curves show.
HISTORY = 24
BARS = "▁▂▃▄▅▆▇█"
# Lines that a table of replicas needs beside its rows: an empty one, its head, and how many are not shown.
FRAME = 3
WIDEST = 160
FULL, BUSY = 0.9, 0.7


class View:
    """What is shown now; takes new figures and draws them.

    Args:
        title: which release, where.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._came: deque[float] = deque(maxlen=HISTORY)
        self._done: deque[float] = deque(maxlen=HISTORY)
        self._seen: Figures | None = None
        self._hints: list[Hint] = []
        self._at = ""

    def show(self, seen: Figures, hints: list[Hint]) -> None:
        """Take new figures."""
        self._seen, self._hints, self._at = seen, hints, time.strftime("%H:%M:%S")
        if seen.seconds:
            self._came.append(came(seen) or 0.0)
            self._done.append(done(seen) or 0.0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        seen = self._seen
        width = min(options.max_width, WIDEST)
        if seen is None:
            yield Text(f"{self._title}: looking ...", "dim")
            return
        above = Group(
            self._head(seen, width),
            *self._flow(seen),
            *(
                Text.assemble(("! ", "bold yellow"), (plain(each.what), "yellow"), (f" -> {plain(each.do)}", "cyan"))
                for each in self._hints
            ),
            *([] if self._hints else [Text("nothing to act on", "green")]),
            Text(),
            _lanes(seen.lanes),
            *_partitions(seen.lanes, width),
        )
        yield above
        left = console.height - len(console.render_lines(above, options)) if console.is_terminal else None
        yield from _replicas(seen, left, width)

    def _head(self, seen: Figures, width: int) -> RenderableType:
        brokers = "Kafka does not answer" if seen.brokers is None else f"{seen.brokers} broker{'s' * (seen.brokers != 1)}"
        head = Table.grid(expand=False, padding=(0, 1))
        head.add_column(width=width - 34, no_wrap=True, overflow="ellipsis")
        head.add_column(justify="right", width=32, no_wrap=True)
        window = f"rates of the last {seen.seconds:.0f} s" if seen.seconds else "no rates yet"
        head.add_row(
            Text.assemble(("convnet-kafka ", "bold"), self._title, ", ", (brokers, "bold red" if seen.brokers is None else "")),
            Text(f"{window}  {self._at}", "dim"),
        )
        return head

    def _flow(self, seen: Figures) -> Iterable[RenderableType]:
        failed = sum(value for name, value in seen.results_per_s.items() if name not in {"labelled", "cancelled"})
        refused, unknown = (seen.outcomes_per_s.get(name, 0.0) for name in ("refused", "unknown"))
        letters = "-" if seen.dead_letters is None else count(seen.dead_letters)
        rising = f" (+{rate(seen.dead_letters_per_s)}/s)" if seen.dead_letters_per_s else ""
        curves = self._came, self._done
        top = max((value for curve in curves for value in curve), default=0.0)
        yield Text.assemble(
            ("in ", "dim"), (f"{rate(came(seen)):>7}/s ", "bold"), (curve(self._came, top), "blue"),
            ("   done ", "dim"), (f"{rate(done(seen)):>7}/s ", "bold"), (curve(self._done, top), "green"),
        )  # fmt: skip
        yield Text.assemble(
            ("failed ", "dim"), (f"{rate(failed)}/s", "red" if failed else ""),
            ("   refused ", "dim"), (f"{rate(refused)}/s", "yellow" if refused else ""),
            ("   unknown ", "dim"), (f"{rate(unknown)}/s", "red" if unknown else ""),
            ("   dead letters ", "dim"), (f"{letters}{rising}", "red" if rising else ""),
        )  # fmt: skip
        yield _models(seen)


def came(seen: Figures) -> float | None:
    """Images a second that came in: as servers count, else as Kafka's topics grow."""
    return seen.accepted_per_s if seen.accepted_per_s is not None else _sum(lane.in_per_s for lane in seen.lanes)


def done(seen: Figures) -> float | None:
    """Images a second that got their result: as classifiers count, else as their groups commit."""
    return sum(seen.results_per_s.values()) if seen.labelled_per_s is not None else _sum(lane.done_per_s for lane in seen.lanes)


def _sum(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) if found else None


def curve(values: Iterable[float], top: float) -> str:
    """A small curve of what was, the newest on the right."""
    drawn = "".join(BARS[min(len(BARS) - 1, round(value / top * (len(BARS) - 1)))] if top else BARS[0] for value in values)
    return drawn.rjust(HISTORY)


def _models(seen: Figures) -> Text:
    found = Text.assemble(("models ", "dim"))
    for role in ("stable", "canary", "shadow"):
        versions: dict[int, int] = {}
        for replica in seen.classifiers:
            versions[replica.models[role]] = versions.get(replica.models[role], 0) + 1
        if role != "stable":
            versions.pop(0, None)
        if not versions:
            continue
        told = ", ".join(f"{version or 'none'} in {number} of {len(seen.classifiers)}" for version, number in sorted(versions.items()))
        agrees = f", says what stable says of {share(seen.agreement[role])}" if role in seen.agreement else ""
        found.append(f"{role} {told}{agrees}  ", "yellow" if len(versions) > 1 or 0 in versions else "")
    if not seen.classifiers:
        found.append("not known: no classifier's address is known here", "dim")
    return found


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim", expand=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True, overflow="ellipsis")
    return table


def _lanes(lanes: Iterable[LaneFigures]) -> RenderableType:
    table = _table("LANE", "IN/S", "DONE/S", "WAITING", "OLDEST", "LEFT", "P50", "P95", "P99", "BATCH", "MEMBERS")
    for lane in lanes:
        members = "-" if lane.members is None else str(lane.members)
        table.add_row(
            Text(lane.lane.value, "bold"),
            rate(lane.in_per_s),
            rate(lane.done_per_s),
            Text(count(lane.waiting), "yellow" if lane.waiting else ""),
            span(lane.oldest_s) if lane.waiting else "-",
            "-" if not lane.waiting else "?" if lane.drain_s is None else span(lane.drain_s),
            *(span(lane.latency_s[name]) for name in ("p50", "p95", "p99")),
            "-" if lane.batch_images is None else f"{lane.batch_images:.1f}",
            Text(f"{members} ({lane.idle} idle)" if lane.idle else members, "bold red" if lane.members == 0 else ""),
        )
    return table


def _partitions(lanes: Iterable[LaneFigures], width: int) -> Iterable[RenderableType]:
    """What waits in each partition: red where nobody holds it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=4)
    grid.add_column(width=max(20, width - 8))
    for lane in lanes:
        cells = Text()
        for each in lane.partitions:
            lost = lane.members is not None and not each.owner
            style = "bold red" if lost else "yellow" if each.waiting else "dim"
            cells.append(f"{each.partition}:{amount(each.waiting)}".ljust(9), style)
        grid.add_row(Text(lane.lane.value, "dim"), cells)
    if grid.row_count:
        yield Text("\nWAITING BY PARTITION (partition:images)", "bold dim")
        yield grid


def _replicas(seen: Figures, height: int | None, width: int) -> Iterable[RenderableType]:
    """Tables of classifiers, members whose metrics nobody knows, and servers; in so many lines, or in as many as it takes."""
    tables: list[tuple[Table, list[Iterable[RenderableType]]]] = [
        (
            _table("CLASSIFIER", "READY", "MODEL", "BULK", "FAST", "IMAGES/S", "BATCH", "BUSY", "IN FLIGHT", "CPU", "MEMORY"),
            [_classifier(each, width) for each in seen.classifiers],
        ),
        (_table("MEMBER", "HOST", "BULK", "FAST"), [_stranger(each, width) for each in seen.strangers]),
        (
            _table("SERVER", "READY", "IMAGES/S", "MB/S", "REQUESTS/S", "P95", "UPLOADS", "READERS", "QUEUE", "CPU", "MEMORY"),
            [_server(each) for each in seen.servers],
        ),
    ]
    filled = [(table, rows) for table, rows in tables if rows]
    shown = _shared([len(rows) for _, rows in filled], None if height is None else height - FRAME * len(filled))
    for (table, rows), most in zip(filled, shown, strict=True):
        for row in rows[:most]:
            table.add_row(*row)
        left = len(rows) - most
        yield Group(Text(), table, *([Text(f"... and {left} more", "dim")] if left else []))


def _shared(wanted: list[int], lines: int | None) -> list[int]:
    """Lines for each, at least one: the small ones get what they want, the rest is shared by the large ones."""
    if lines is None:
        return wanted
    given = dict.fromkeys(range(len(wanted)), 0)
    left, waiting = lines, len(wanted)
    for place in sorted(given, key=lambda place: wanted[place]):
        given[place] = max(1, min(wanted[place], left // waiting))
        left, waiting = left - given[place], waiting - 1
    return list(given.values())


def _stranger(each: StrangerFigures, width: int) -> Iterable[RenderableType]:
    return (plain(each.name), plain(each.host), *(_held(each.holds, lane, width) for lane in (Lane.BULK, Lane.FAST)))


def _ready(ready: bool) -> Text:
    return Text("yes", "green") if ready else Text("no", "bold red")


def _classifier(each: ClassifierFigures, width: int) -> Iterable[RenderableType]:
    models = " ".join(
        filter(
            None,
            (
                str(each.models["stable"] or "none"),
                *(f"{role[0]}{each.models[role]}" for role in ("canary", "shadow") if each.models[role]),
            ),
        )
    )
    return (
        plain(each.name),
        _ready(each.ready),
        models,
        *(_held(each.holds, lane, width) for lane in (Lane.BULK, Lane.FAST)),
        rate(each.images_per_s),
        "-" if each.batch_images is None else f"{each.batch_images:.1f}",
        "-" if each.busy is None else Text(share(each.busy), "bold red" if each.busy >= FULL else "yellow" if each.busy >= BUSY else ""),
        str(each.in_flight),
        "-" if each.cpu is None else share(each.cpu),
        f"{each.memory_bytes / 1e6:,.0f} MB",
    )


def _held(holds: Mapping[Lane, tuple[int, ...] | int], lane: Lane, width: int) -> Text:
    held = holds[lane]
    if isinstance(held, int):
        return Text(f"{held} held", "dim" if not held else "")
    text = ranges(held)
    return Text(text if len(text) <= width // 8 else f"{len(held)} held", "dim" if not held else "")


def _server(each: ServerFigures) -> Iterable[RenderableType]:
    return (
        plain(each.name),
        _ready(each.ready),
        rate(each.images_per_s),
        "-" if each.bytes_per_s is None else f"{each.bytes_per_s / 1e6:,.1f}",
        rate(each.requests_per_s),
        span(each.request_p95_s),
        str(each.uploads),
        str(each.readers),
        str(each.queue),
        "-" if each.cpu is None else share(each.cpu),
        f"{each.memory_bytes / 1e6:,.0f} MB",
    )
