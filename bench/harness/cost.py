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
from harness.report import Report, cores, progress, repeated

LENGTHS = (10_000, 30_000, 100_000, 300_000)
BUDGETS = (64, 128, 256, 512, 1024, 2048)
QUESTION_WORDS = (4, 16, 64, 256)
CLIENTS = (1, 2, 4, 8, 16)
READ_LAYERS, WINDOW, STORED = 2, 256, 64  # of the default profile
WEIGHT_BITS = 5.0  # Q4_1
QUESTION_VECTORS = 24
PUBLISHED = 30.0  # seconds for a million tokens, "under", 8B model, one Ascend 910B


def measure(report: Report, engine: Engine, scratch: str | None, folder: pathlib.Path, runs: int, quick: bool) -> None:
    lengths, budgets = (LENGTHS[:2], BUDGETS[:3]) if quick else (LENGTHS, BUDGETS)
    bench = Sweeps(report, engine, scratch, runs)
    lines = {}
    lines["reading"], store = bench.lengths(lengths)
    with store:
        lines["question"] = bench.question_lengths(store)
        lines["prompt"] = bench.budgets(store, budgets)
        bench.cores(store, lengths[-1])
    bench.clients(CLIENTS[:2] if quick else CLIENTS, 2 if quick else 20)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, x_label, y_label, series) in bench.plots.items():
        (folder / f"cost-{name}.svg").write_text(svg_plot.render(title, x_label, y_label, series), encoding="utf-8")
    (folder / "cost.md").write_text("\n".join([bench.table(), machines_table()]), encoding="utf-8")


class Sweeps:
    """Each changes one thing. Points of plots are medians with their least and greatest."""

    def __init__(self, report: Report, engine: Engine, scratch: str | None, runs: int) -> None:
        self._report, self._engine, self._scratch, self._runs = report, engine, scratch, runs
        self._rows: list[list[str]] = []
        self.plots: dict[str, tuple[str, str, str, list[svg_plot.Series]]] = {}

    def lengths(self, lengths: Sequence[int]) -> tuple[Line, Store]:
        """-> (seconds of reading by tokens, a store with the longest document as `text`)"""
        tokens, seconds, points, scores = [], [], [], []
        store = None
        for length in lengths:
            if store:
                store.close()
            text = ours.text_of(self._engine, length, seed=8)
            done, store = ours.read(self._engine, self._scratch, text, self._runs, 120)
            tokens.append(float(done[0].tokens))
            points.append(_point(tokens[-1], [one.seconds for one in done]))
            seconds.append(points[-1][1])
            scores.append(_point(tokens[-1], ours.ask(store, ["text"], self._runs, max_tokens=1).timings("score")))
        assert store is not None
        self.plots["length"] = (
            "Cost by length of the document",
            "tokens",
            "seconds",
            [svg_plot.Series("reading", points), svg_plot.Series("scoring a question", scores)],
        )
        line = self._fitted("reading", "tokens of the document", tokens, seconds)
        flop = SMOLLM2.read_flop(READ_LAYERS, WINDOW, STORED)
        rate = flop / line.slope / 1e9
        self._report.note("cost.reading_gflops", rate, details={"mflop_per_token": flop / 1e6, "cores": cores()})
        self._fitted("scoring", "tokens of the document", tokens, [middle for _, middle, _, _ in scores])
        return line, store

    def question_lengths(self, store: Store) -> Line:
        words = itertools.cycle(prose.passage(20_000, seed=9).split())
        numbers, encoding, scoring = [], [], []
        for count in QUESTION_WORDS:
            text = " ".join(itertools.islice(words, count)) + "?"
            asked = {"documents": ["text"], "question": text, "max_tokens": 0}
            answers = store.ask_batch([asked] * (self._runs + 1))[1:]
            numbers.append(float(count))
            encoding.append(_point(count, [answer["timings_ms"]["query"] / 1000 for answer in answers]))
            scoring.append(_point(count, [answer["timings_ms"]["score"] / 1000 for answer in answers]))
        self.plots["question"] = (
            "Cost by length of the question",
            "words",
            "seconds",
            [svg_plot.Series("encoding", encoding), svg_plot.Series("scoring", scoring)],
        )
        self._fitted("scoring", "words of the question", numbers, [middle for _, middle, _, _ in scoring])
        return self._fitted("encoding", "words of the question", numbers, [middle for _, middle, _, _ in encoding])

    def budgets(self, store: Store, budgets: Sequence[int]) -> Line:
        """First token and speed of an answer with the whole budget in the prompt."""
        whole_budget = ours.without_floor(store.engine, store.folder)
        prompts, first, each = [], [], []
        for budget in budgets:
            asked = ours.ask(
                store, ["text"], self._runs, whole_budget, budget=budget, max_tokens=24, instruction=ours.INSTRUCTION
            )
            prompts.append(statistics.median(float(answer["prompt_tokens"]) for answer in asked.answers))
            first.append(_point(prompts[-1], asked.timings("first_token")))
            each.append(_point(prompts[-1], [1 / rate for rate in asked.rates()]))
        self.plots["budget"] = (
            "Cost by recalled tokens",
            "tokens of the prompt",
            "seconds",
            [svg_plot.Series("first token", first), svg_plot.Series("each further token", each)],
        )
        seconds_each = [middle for _, middle, _, _ in each]
        self._fitted("each token of an answer", "tokens of the prompt", prompts, seconds_each)
        line = self._fitted("first token", "tokens of the prompt", prompts, [middle for _, middle, _, _ in first])
        flop = SMOLLM2.prompt_flop(round(prompts[-1]))
        self._report.note("cost.prompt_gflops", flop / first[-1][1] / 1e9)
        moved = SMOLLM2.answer_bytes(round(prompts[0]), WEIGHT_BITS)
        self._report.note("cost.answer_gb_per_s", moved / seconds_each[0] / 1e9, details={"mb_per_token": moved / 1e6})
        return line

    def cores(self, store: Store, length: int) -> None:
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
        points = []
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
        self.plots["clients"] = (
            "Questions by clients",
            "clients at once",
            "questions per second",
            [svg_plot.Series("answers of 8 tokens", points)],
        )

    def table(self) -> str:
        return outcomes.markdown([["cost", "by", "fitted", "greatest error"], *self._rows])

    def _fitted(self, cost: str, by: str, xs: Sequence[float], ys: Sequence[float]) -> Line:
        line = cost_model.fit(xs, ys)
        error = cost_model.worst_error(line, xs, ys)
        self._rows.append([cost, by, f"{line.base * 1000:.3g} ms + {line.slope * 1e6:.3g} µs each", f"{error:.0%}"])
        details = {
            "base_ms": line.base * 1000,
            "slope_us": line.slope * 1e6,
            "error": round(error, 3),
            "x": list(xs),
            "seconds": list(ys),
        }
        self._report.note(f"cost.{cost} by {by}".replace(" ", "_"), line.slope * 1e6, details=details)
        return line


def _point(x: float, values: Sequence[float]) -> tuple[float, float, float, float]:
    return float(x), statistics.median(values), min(values), max(values)


def _questions_per_second(services: Any, address: str, callers: int, questions: int) -> float:
    """`questions` short questions of each caller."""
    with services.ilre.Client(address) as client:
        services.ask_ms(client, 0)
    ready = threading.Barrier(callers + 1)

    def run(number: int) -> None:
        with services.ilre.Client(address) as client:
            ready.wait()
            for step in range(questions):
                services.ask_ms(client, number + step)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.monotonic()
    for thread in threads:
        thread.join()
    return callers * questions / (time.monotonic() - start)


def machines_table() -> str:
    """What the same formulas say of larger models elsewhere, a million tokens."""
    rows = [
        ["model", "machine", "reading", "scan", "prompt of 4,096", "tokens/s", f"share of peak for {PUBLISHED:g} s"]
    ]
    for model, machine in itertools.product((LLAMA_8B, QWEN_7B), MACHINES):
        stored = model.kv_heads * model.head_dim  # the published method: the keys of one layer
        found = cost_model.predict(model, machine, 1_000_000, 3, 4096, stored, QUESTION_VECTORS * model.heads, 4096)
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
