"""What was measured of each peer at each length: kept as JSON lines, shown as tables in Markdown and as plots."""

import dataclasses
import json
import pathlib
import statistics
from typing import Any, Sequence

from harness import svg_plot

OURS = "ilre"


@dataclasses.dataclass
class Outcome:
    """values: of each measure, a value a run. details: whatever else is worth keeping."""

    peer: str
    tokens: int
    values: dict[str, list[float]]
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def median(self, measure: str) -> float | None:
        values = self.values.get(measure)
        return statistics.median(values) if values else None


@dataclasses.dataclass
class Measure:
    name: str
    title: str
    unit: str  # s, bytes or 1/s

    def show(self, value: float) -> str:
        if self.unit == "bytes":
            return f"{value / 2**20:,.0f} MiB" if value >= 10 * 2**20 else f"{value / 2**20:.2g} MiB"
        digits = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
        return f"{digits} s" if self.unit == "s" else digits


MEASURES = (
    Measure("read_s", "reading", "s"),
    Measure("first_token_s", "first token", "s"),
    Measure("tokens_per_s", "tokens/s of answers", "1/s"),
    Measure("stored_bytes", "kept", "bytes"),
    Measure("peak_bytes", "peak memory", "bytes"),
    Measure("cold_s", "cold start", "s"),
)


def from_result(peer: str, result: dict[str, Any], renamed: dict[str, str] | None = None) -> Outcome:
    """Splits a process's answer into measures and details. renamed: measures that the answer calls otherwise."""
    values = {
        name: result[(renamed or {}).get(name, name)]
        for name in (m.name for m in MEASURES)
        if (renamed or {}).get(name, name) in result
    }
    details = {name: value for name, value in result.items() if name not in values and name != "tokens"}
    return Outcome(peer, result["tokens"], values, details)


def read(path: pathlib.Path) -> list[Outcome]:
    if not path.exists():
        return []
    return [Outcome(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: pathlib.Path, outcomes: Sequence[Outcome]) -> None:
    lines = (json.dumps(dataclasses.asdict(outcome), ensure_ascii=False) + "\n" for outcome in outcomes)
    path.write_text("".join(lines), encoding="utf-8")


def merged(before: Sequence[Outcome], new: Sequence[Outcome]) -> list[Outcome]:
    """A later outcome takes the place of an earlier one of the same peer and length. By length, in order of coming."""
    latest = {(outcome.peer, outcome.tokens): outcome for outcome in [*before, *new]}
    return sorted(latest.values(), key=lambda outcome: outcome.tokens)


def cell(measure: Measure, outcome: Outcome, ours: Outcome | None) -> str:
    """Median, spread of the runs, and how many times ours it is."""
    middle = outcome.median(measure.name)
    if middle is None:
        return ""
    values = outcome.values[measure.name]
    text = measure.show(middle)
    if len(values) > 1:
        text += f" ({measure.show(min(values))} to {measure.show(max(values))})"
    reference = ours.median(measure.name) if ours else None
    if reference and outcome is not ours:
        text += f", {middle / reference:.3g}×"
    return text


def table(outcomes: Sequence[Outcome]) -> str:
    """Of one length. Rows are peers; behind the comma: times the figure of ours, which stands first."""
    ours = next((outcome for outcome in outcomes if outcome.peer == OURS), None)
    head = ["peer", *(measure.title for measure in MEASURES)]
    rows = [[one.peer, *(cell(measure, one, ours) for measure in MEASURES)] for one in outcomes]
    return markdown([head, *rows])


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def plot(outcomes: Sequence[Outcome], measure: Measure, peers: Sequence[str]) -> str:
    series = []
    for peer in peers:
        points = []
        for outcome in outcomes:
            middle = outcome.median(measure.name)
            if outcome.peer == peer and middle:
                values = outcome.values[measure.name]
                points.append((float(outcome.tokens), middle, min(values), max(values)))
        series.append(svg_plot.Series(peer, sorted(points)))
    unit = {"s": "seconds", "bytes": "bytes", "1/s": "tokens per second"}[measure.unit]
    return svg_plot.render(measure.title, "tokens of the text", unit, series)


def write_all(folder: pathlib.Path, outcomes: Sequence[Outcome]) -> None:
    """outcomes.jsonl, peers.md and a plot of each measure."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "outcomes.jsonl", outcomes)
    peers = list(dict.fromkeys(outcome.peer for outcome in outcomes))
    lengths = sorted({outcome.tokens for outcome in outcomes})
    tables = [f"### {n:,} tokens\n\n{table([one for one in outcomes if one.tokens == n])}" for n in lengths]
    (folder / "peers.md").write_text("\n".join(tables), encoding="utf-8")
    for measure in MEASURES:
        drawn = plot(outcomes, measure, peers)
        (folder / f"{measure.name.removesuffix('_s')}.svg").write_text(drawn, encoding="utf-8")
