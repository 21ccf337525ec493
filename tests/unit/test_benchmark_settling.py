"""Before `benchmarks/run.py` measures, the broker's JVM comes to rest, or the figures say that it did not. On stand-ins."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest
from rich.console import Console

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
IMAGES = 100


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("run")


class Client:
    """A client of the path whose every round costs the broker 10 s, and of these its compiler so many, round by round."""

    def __init__(self, compiled: Iterator[float | None], labels: tuple[int, int] = (IMAGES, 0)) -> None:
        self._compiled = compiled
        self._labels = labels
        self.rounds = 0
        self.spent_s = 100.0
        self.compiling_s: float | None = 50.0

    def begin(self, *_arguments: object) -> None:
        self.rounds += 1
        self.spent_s += 10.0
        seconds = next(self._compiled)
        self.compiling_s = None if seconds is None or self.compiling_s is None else self.compiling_s + seconds

    def result(self) -> Any:
        return SimpleNamespace(seconds=1.0, cpu_s=1.0, detail=self._labels)


Settle = Callable[[Client], tuple[Any, str]]


@pytest.fixture
def settle(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Settle:
    def settled(client: Client) -> tuple[Any, str]:
        monkeypatch.setattr(bench, "cpu_by_process", lambda _processes: {"broker": client.spent_s})
        monkeypatch.setattr(bench, "compiling_seconds", lambda _pid: client.compiling_s)
        said = io.StringIO()
        stack = SimpleNamespace(processes={"broker": 1})
        return bench.settle(client, stack, Path(), IMAGES, Console(file=said, width=300)), said.getvalue()

    return settled


def test_it_ends_with_the_first_round_in_which_little_was_compiled(settle: Settle) -> None:
    client = Client(iter([6.0, 3.0, 1.0, 9.0]))
    settling, said = settle(client)
    assert (settling.rounds, settling.compiling_share, settling.settled) == (3, pytest.approx(0.1), True)
    assert client.rounds == 3
    assert "NOT SETTLED" not in said


def test_a_broker_that_goes_on_compiling_is_told(settle: Settle, bench: ModuleType) -> None:
    settling, said = settle(Client(iter([3.0] * bench.MOST_SETTLING_ROUNDS)))
    assert (settling.rounds, settling.compiling_share, settling.settled) == (bench.MOST_SETTLING_ROUNDS, pytest.approx(0.3), False)
    assert "NOT SETTLED: after 12 rounds 30% of the broker's CPU was its compiler's, 10% at most is wanted" in said


def test_where_the_system_does_not_tell_of_the_compiler_nothing_is_said_to_be_settled(settle: Settle, bench: ModuleType) -> None:
    settling, said = settle(Client(iter([None] * bench.MOST_SETTLING_ROUNDS)))
    assert (settling.rounds, settling.compiling_share, settling.settled) == (bench.MOST_SETTLING_ROUNDS, None, False)
    assert "NOT SETTLED: after 12 rounds an unknown part" in said


@pytest.mark.parametrize("labels", [(IMAGES - 1, 0), (IMAGES - 1, 1), (IMAGES, 1)])
def test_a_round_without_all_labels_ends_the_benchmark(settle: Settle, labels: tuple[int, int]) -> None:
    with pytest.raises(click.ClickException, match=f"{labels[0]} labels and {labels[1]} failures for {IMAGES} images"):
        settle(Client(iter([0.0]), labels))


def test_the_figures_say_how_it_went(bench: ModuleType) -> None:
    rounds = bench.Rounds(limit=[10.0], path=[8.0], cpu_us={"broker": [7.0]}, limit_cpu_us=[5.0])
    figures = bench.report(rounds, bench.Settling(12, 0.3), [0.002], {}, {})
    assert figures["settling"] == {"rounds": 12, "compiling_share": 0.3, "settled": False}
    assert figures["end_to_end_ratio"] == pytest.approx(0.8)
