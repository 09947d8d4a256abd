"""How cost grows with the length of document and question, budget, clients and cores; and the formula behind it."""

import itertools
import pathlib
import statistics
import threading
import time
from typing import Any, Sequence

from harness import cost_model, ours, outcomes, prose, svg_plot
from harness.cost_model import LLAMA_8B, MACHINES, QWEN_7B, SMOLLM2, Line
from harness.ilre import Engine, Store
from harness.report import Report, cores, repeated

LENGTHS = (10_000, 30_000, 100_000, 300_000)
BUDGETS = (64, 128, 256, 512, 1024, 2048)
QUESTION_WORDS = (4, 16, 64, 256)
CLIENTS = (1, 2, 4, 8, 16)
READ_LAYERS, WINDOW, STORED = 2, 256, 64  # of the default profile
WEIGHT_BITS = 5.85  # of the default file: Q4_1, the output layer Q8_0
QUESTION_VECTORS = 24
PUBLISHED = 30.0  # seconds for a million tokens, "under", 8B model, one Ascend 910B


def measure(report: Report, engine: Engine, scratch: str | None, folder: pathlib.Path, runs: int, quick: bool) -> None:
    """Writes cost.md and plots into the folder after each sweep."""
    lengths, budgets = (LENGTHS[:2], BUDGETS[:3]) if quick else (LENGTHS, BUDGETS)
    bench = Sweeps(report, engine, scratch, runs, folder)
    with bench.lengths(lengths) as store:
        bench.question_lengths(store)
        bench.budgets(store, budgets)
    bench.cores(lengths[-2])
    bench.clients(CLIENTS[:2] if quick else CLIENTS, 4 if quick else 32)


Points = list[tuple[float, float, float, float]]  # x, median, least, greatest


class Sweeps:
    """Each changes one thing."""

    def __init__(self, report: Report, engine: Engine, scratch: str | None, runs: int, folder: pathlib.Path) -> None:
        self._report, self._engine, self._scratch, self._runs, self._folder = report, engine, scratch, runs, folder
        self._rows: list[list[str]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def lengths(self, lengths: Sequence[int]) -> Store:
        """-> a store with the longest document as `text`"""
        reading: Points = []
        scoring: Points = []
        store = None
        for length in lengths:
            if store:
                store.close()
            text = ours.text_of(self._engine, length, seed=8)
            done, store = ours.read(self._engine, self._scratch, text, self._runs, 120)
            reading.append(_point(done[0].tokens, [one.seconds for one in done]))
            asked = ours.ask(store, ["text"], self._runs, max_tokens=1)
            scoring.append(_point(done[0].tokens, asked.timings("score")))
        assert store is not None
        self._plot("length", "length of the document", "tokens", {"reading": reading, "scoring a question": scoring})
        line = self._fitted("reading", "tokens of the document", reading)
        self._fitted("scoring", "tokens of the document", scoring)
        flop = SMOLLM2.read_flop(READ_LAYERS, WINDOW, STORED)
        details = {"mflop_per_token": flop / 1e6, "cores": cores()}
        self._report.note("cost.reading_gflops", flop / line.slope / 1e9, details=details)
        return store

    def question_lengths(self, store: Store) -> None:
        words = itertools.cycle(prose.passage(20_000, seed=9).split())
        encoding: Points = []
        scoring: Points = []
        for count in QUESTION_WORDS:
            text = " ".join(itertools.islice(words, count)) + "?"
            question = {"documents": ["text"], "question": text, "max_tokens": 0}
            asked = ours.Asked(store.ask_batch([question] * (self._runs + 1))[1:], 0)
            encoding.append(_point(count, asked.timings("query")))
            scoring.append(_point(count, asked.timings("score")))
        self._plot("question", "length of the question", "words", {"encoding": encoding, "scoring": scoring})
        self._fitted("encoding", "words of the question", encoding)
        self._fitted("scoring", "words of the question", scoring)

    def budgets(self, store: Store, budgets: Sequence[int]) -> None:
        """First token and speed of an answer with the whole budget in the prompt."""
        whole_budget = ours.without_floor(store.engine, store.folder)
        first: Points = []
        each: Points = []
        long_answers = {"max_tokens": 24, "instruction": ours.INSTRUCTION}
        for budget in budgets:
            asked = ours.ask(store, ["text"], self._runs, whole_budget, budget=budget, **long_answers)
            prompt = statistics.median(float(answer["prompt_tokens"]) for answer in asked.answers)
            first.append(_point(prompt, asked.timings("first_token")))
            each.append(_point(prompt, [1 / rate for rate in asked.rates()]))
        self._plot("budget", "recalled tokens", "tokens of the prompt", {"first token": first, "each further": each})
        self._fitted("first token", "tokens of the prompt", first)
        self._fitted("each further token", "tokens of the prompt", each)
        prompt, seconds = first[-1][:2]
        self._report.note("cost.prompt_gflops", SMOLLM2.prompt_flop(round(prompt)) / seconds / 1e9)
        prompt, seconds = each[0][:2]
        moved = SMOLLM2.answer_bytes(round(prompt), WEIGHT_BITS)
        self._report.note("cost.answer_gb_per_s", moved / seconds / 1e9, details={"mb_per_token": moved / 1e6})

    def cores(self, length: int) -> None:
        text = ours.text_of(self._engine, length, seed=8)
        seconds = {}
        for threads in dict.fromkeys((1, cores())):

            def once(_: int, threads: int = threads) -> float:
                with Store(self._engine, self._scratch) as new:
                    return new.ingest("text", text, "--threads", str(threads)).seconds

            seconds[threads] = statistics.median(repeated(once, self._runs, 60))
        self._report.note("cost.reading_speedup_by_cores", seconds[1] / seconds[cores()], details={"seconds": seconds})

    def clients(self, counts: Sequence[int], questions: int) -> None:
        """Questions per second of a server, by how many ask at once."""
        from harness import services  # pylint: disable=import-outside-toplevel; it needs the built client

        bench = services.Bench(self._report, str(pathlib.Path(self._engine.binary).parent), quick=True)
        points: Points = []
        try:
            server = bench.serve()
            for count in counts:
                rates = [_questions_per_second(services, server.address, count, questions) for _ in range(self._runs)]
                points.append(_point(count, rates))
                details = {"values": rates}
                self._report.note(f"cost.questions_per_second.{count}", points[-1][1], n=len(rates), details=details)
            server.terminate()
        finally:
            bench.close()
        self._plot("clients", "clients", "clients at once", {"answers of 8 tokens": points}, "questions per second")

    def _plot(self, name: str, by: str, x_label: str, series: dict[str, Points], y_label: str = "seconds") -> None:
        lines = [svg_plot.Series(label, points) for label, points in series.items()]
        drawn = svg_plot.render(f"Cost by {by}", x_label, y_label, lines)
        (self._folder / f"cost-{name}.svg").write_text(drawn, encoding="utf-8")

    def _fitted(self, cost: str, by: str, points: Points) -> Line:
        """A line through the medians: into the report, and a row of cost.md."""
        xs, seconds = [point[0] for point in points], [point[1] for point in points]
        line = cost_model.fit(xs, seconds)
        error = cost_model.worst_error(line, xs, seconds)
        details = {"base_ms": line.base * 1000, "error": round(error, 3), "points": points}
        self._report.note(f"cost.{cost} by {by}, us".replace(" ", "_"), line.slope * 1e6, details=details)
        self._rows.append([cost, by, f"{line.base * 1000:.3g} ms + {line.slope * 1e6:.3g} µs each", f"{error:.0%}"])
        table = outcomes.markdown([["cost", "by", "fitted", "greatest error"], *self._rows])
        (self._folder / "cost.md").write_text("\n".join([table, machines_table()]), encoding="utf-8")
        return line


def _point(x: float, values: Sequence[float]) -> tuple[float, float, float, float]:
    return float(x), statistics.median(values), min(values), max(values)


def _questions_per_second(services: Any, address: str, callers: int, questions: int) -> float:
    """`questions` short questions, so many callers at a time."""
    with services.ilre.Client(address) as client:
        services.ask_ms(client, 0)
    ready = threading.Barrier(callers + 1)

    def run(number: int) -> None:
        with services.ilre.Client(address) as client:
            ready.wait()
            for step in range(questions // callers):
                services.ask_ms(client, number + step)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.monotonic()
    for thread in threads:
        thread.join()
    return questions // callers * callers / (time.monotonic() - start)


def machines_table() -> str:
    """What the same formulas say of larger models elsewhere, a million tokens."""
    rows = [
        ["model", "machine", "reading", "scan", "prompt of 4,096", "tokens/s", f"share of peak for {PUBLISHED:g} s"]
    ]
    for model, machine in itertools.product((LLAMA_8B, QWEN_7B), MACHINES):
        stored = model.kv_heads * model.head_dim  # the published method: the keys of one layer
        found = cost_model.predict(
            model, machine, 1_000_000, 3, 4096, stored, QUESTION_VECTORS * model.heads // model.kv_heads, 4096
        )
        share = cost_model.needed_share(model, machine, 1_000_000, 3, 4096, PUBLISHED)
        rows.append(
            [
                model.name,
                machine.name,
                f"{found.read:.1f} s",
                f"{found.scan * 1000:.0f} ms",
                f"{found.prompt:.2f} s",
                f"{found.tokens_per_s:.0f}",
                f"{share:.0%}",
            ]
        )
    return outcomes.markdown(rows)
