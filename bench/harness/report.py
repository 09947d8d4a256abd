"""Figures: one JSON object a line on standard output, progress for people on standard error."""

import dataclasses
import json
import os
import platform
import random
import statistics
import sys
import time
from typing import Any, Callable, Sequence, TypeVar

T = TypeVar("T")

START = time.monotonic()


@dataclasses.dataclass
class Figure:
    """One measured number and what it has to be."""

    name: str
    value: Any
    n: int | None = None  # samples behind the value
    bar: str | None = None  # what it has to be, for people; None: shown for information
    passed: bool | None = None  # None: no bar, or skipped
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


class Report:
    """Prints figures as they come and remembers whether one missed its bar."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def add(self, figure: Figure) -> None:
        if figure.passed is False:
            self.missed.append(figure.name)
        print(json.dumps(dataclasses.asdict(figure), ensure_ascii=False), flush=True)
        verdict = {True: "passed", False: "MISSED", None: ""}[figure.passed]
        progress(f"{figure.name}: {figure.value} {f'(bar {figure.bar}) ' if figure.bar else ''}{verdict}")

    def at_least(self, name: str, value: float, bar: float, **rest: Any) -> None:
        self.add(Figure(name, rounded(value), bar=f">= {bar:g}", passed=value >= bar, **rest))

    def at_most(self, name: str, value: float, bar: float, **rest: Any) -> None:
        self.add(Figure(name, rounded(value), bar=f"<= {bar:g}", passed=value <= bar, **rest))

    def note(self, name: str, value: Any, **rest: Any) -> None:
        """A figure without a bar."""
        self.add(Figure(name, rounded(value) if isinstance(value, (int, float)) else value, **rest))

    def skip(self, name: str, why: str) -> None:
        self.add(Figure(name, None, details={"skipped": why}))


def progress(line: str) -> None:
    print(f"[{time.monotonic() - START:7.1f} s] {line}", file=sys.stderr, flush=True)


def rounded(value: float) -> float:
    """Four digits, which is more than these figures have; counts stay as they are."""
    if isinstance(value, int):
        return value
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)


def machine() -> Figure:
    """What the figures were taken on: other work on it shows as its load."""
    model = platform.processor() or platform.machine()
    features: set[str] = set()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            key, _, text = line.partition(":")
            if key.strip() == "model name":
                model = text.strip()
            elif key.strip() == "flags":
                features = set(text.split())
    with open("/proc/meminfo", encoding="utf-8") as lines:
        memory_kib = int(next(line for line in lines if line.startswith("MemTotal")).split()[1])
    shown = [f for f in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8") if f in features]
    details = {"memory_gib": round(memory_kib / 2**20, 1), "features": shown, "load_before": os.getloadavg()[0]}
    return Figure("machine", model, n=cores(), details=details)


def cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0))


def load_average() -> float:
    """Processes that ran or waited, mean of the last minute: above the number of cores, times are not the engine's."""
    return round(os.getloadavg()[0], 1)


def repeated(run: Callable[[int], T], runs: int, patience_s: float) -> list[T]:
    """What run(0), run(1), … give: `runs` of them, but no further one after patience_s; one at least."""
    start = time.monotonic()
    results: list[T] = []
    while len(results) < runs and (not results or time.monotonic() - start < patience_s):
        results.append(run(len(results)))
    return results


def bootstrap_interval(
    values: Sequence[Any],
    statistic: Callable[[Sequence[Any]], float] = statistics.fmean,
    rounds: int = 2000,
    seed: int = 1,
) -> tuple[float, float]:
    """95% interval of a statistic by the percentile bootstrap (Efron, "Bootstrap methods", 1979)."""
    return interval_of_means([values], lambda drawn: statistic(drawn[0]), rounds, seed)


def interval_of_means(
    groups: Sequence[Sequence[Any]],
    statistic: Callable[[Sequence[Sequence[Any]]], float] = lambda drawn: statistics.fmean(map(statistics.fmean, drawn)),
    rounds: int = 2000,
    seed: int = 1,
) -> tuple[float, float]:
    """The same where values are drawn within groups, such as tasks: by itself of the mean of their means."""
    rng = random.Random(seed)
    drawn = sorted(statistic([rng.choices(group, k=len(group)) for group in groups]) for _ in range(rounds))
    return rounded(drawn[int(rounds * 0.025)]), rounded(drawn[int(rounds * 0.975) - 1])
