"""bench/services: measures `ilre serve` over the network and prints each figure as one line of JSON."""

import argparse
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator

import built_client  # noqa: F401
import ilre
from servers import ROOT, Server, Services

from harness.prose import ProseMissingError, passage
from harness.report import Report, load_average, machine, progress

QUESTIONS = (
    "Who was the father of Solomon?",
    "What did Moses strike with his rod?",
    "Where was Paul shipwrecked?",
    "Who denied Jesus three times?",
    "What did the ravens bring to Elijah?",
)


class Bench:
    """A server over the default model with one document in it."""

    def __init__(self, report: Report, programs: str, quick: bool) -> None:
        self.report = report
        self.quick = quick
        self.services = Services(programs, real_model=True)
        self.text = passage(200_000 if quick else 1_500_000, seed=1).encode()

    def serve(self, *flags: str) -> Server:
        server = self.services.start("serve", *flags)
        with ilre.Client(server.address) as client:
            client.ingest("book", self.text[:200_000])
        return server

    def close(self) -> None:
        self.services.close()


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ask_ms(client: ilre.Client, number: int, max_tokens: int = 8) -> float:
    """Milliseconds from the question to the end of a short answer."""
    start = time.monotonic()
    client.ask(QUESTIONS[number % len(QUESTIONS)], "book", max_tokens=max_tokens).result()
    return (time.monotonic() - start) * 1000


# Questions beside ingests.


class Ingests:
    """Clients that ingest for as long as the `with` lasts."""

    def __init__(self, address: str, text: bytes, count: int) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(address, text, number)) for number in range(count)]

    def _run(self, address: str, text: bytes, number: int) -> None:
        class Enough(Exception):
            pass

        def check(_: ilre.IngestProgress) -> None:
            if self._stop.is_set():
                raise Enough

        with ilre.Client(address) as client:
            while not self._stop.is_set():
                try:
                    client.ingest(f"load{number}", text, replace=True, on_progress=check)
                except Enough:
                    return

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def measure_latency(bench: Bench) -> None:
    """A question while nothing else runs, and beside one and two ingests that never pause."""
    server = bench.serve()
    count = 5 if bench.quick else 40
    with ilre.Client(server.address) as client:
        for number in range(3):
            ask_ms(client, number)
        idle = [ask_ms(client, number) for number in range(count)]
        bench.report.note("question_idle_ms", statistics.median(idle), n=count, details={"p95": percentile(idle, 0.95)})
        for ingests in (1, 2):
            before = server.metric("ilre_ingested_tokens_total")
            start = time.monotonic()
            with Ingests(server.address, bench.text, ingests):
                time.sleep(2)
                beside = [ask_ms(client, number) for number in range(count)]
                tokens = server.metric("ilre_ingested_tokens_total") - before
                seconds = time.monotonic() - start
            details = {
                "median_ms": statistics.median(beside),
                "p95_ms": percentile(beside, 0.95),
                "p95_ratio": percentile(beside, 0.95) / percentile(idle, 0.95),
                "ingested_tokens_per_s": tokens / seconds,
                "load": load_average(),
            }
            ratio = statistics.median(beside) / statistics.median(idle)
            bench.report.at_most(f"question_beside_{ingests}_ingests_ratio", ratio, 3, n=count, details=details)
    server.terminate()


# Answers together.


def decode_rate(address: str, callers: int, rounds: int, max_tokens: int) -> float:
    """Tokens per second of all callers together."""
    tokens, lock = [0], threading.Lock()
    ready = threading.Barrier(callers + 1)

    def run(number: int) -> None:
        with ilre.Client(address) as client:
            ready.wait()
            for step in range(rounds):
                question = QUESTIONS[(number + step) % len(QUESTIONS)]
                instruction = "Tell a long story about it."
                answer = client.ask(
                    question, "book", max_tokens=max_tokens, budget=128, instruction=instruction
                ).result()
                with lock:
                    tokens[0] += answer.answer_tokens

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.monotonic()
    for thread in threads:
        thread.join()
    return tokens[0] / (time.monotonic() - start)


def measure_batching(bench: Bench) -> None:
    """Eight answers at once against one after the other."""
    server = bench.serve("--max-running", "8")
    max_tokens = 32 if bench.quick else 200
    decode_rate(server.address, 1, 1, 16)
    one, eight = [], []
    for _ in range(1 if bench.quick else 3):  # in turn, so that other work on the machine meets both
        one.append(decode_rate(server.address, 1, 2, max_tokens))
        eight.append(decode_rate(server.address, 8, 1, max_tokens))
    details = {"one_tokens_per_s": one, "eight_tokens_per_s": eight, "load": load_average()}
    ratio = statistics.median(eight) / statistics.median(one)
    bench.report.at_least("eight_answers_tokens_per_s_ratio", ratio, 2.5, n=len(one), details=details)
    server.terminate()


# Overload.


def flood(address: str, callers: int, seconds: float) -> tuple[list[float], dict[str, int]]:
    """Callers that ask without a pause. -> (milliseconds to the first token of each that was taken, outcomes)"""
    first_ms: list[float] = []
    outcomes: dict[str, int] = {}
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def run(number: int) -> None:
        numbers: Iterator[int] = itertools.count(number)
        with ilre.Client(address, retry=ilre.NO_RETRIES) as client:
            while time.monotonic() < end:
                start = time.monotonic()
                outcome = "OK"
                try:
                    stream = client.ask(QUESTIONS[next(numbers) % len(QUESTIONS)], "book", max_tokens=16)
                    took = None
                    for event in stream:
                        if took is None and isinstance(event, ilre.Text):
                            took = (time.monotonic() - start) * 1000
                except ilre.IlreError as error:
                    outcome = error.reason if error.retry_delay else f"{error.code.name} without a delay"
                    time.sleep(0.25)  # sooner than told: more than ten times the capacity is offered all the same
                with lock:
                    outcomes[outcome] = outcomes.get(outcome, 0) + 1
                    if outcome == "OK" and took is not None:
                        first_ms.append(took)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return first_ms, outcomes


def admission_limit(server: Server) -> int:
    """Questions that the server has at once, running or waiting, while it is asked more than it takes."""
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            figures = ("ilre_running_requests", "ilre_queue_depth")
            most[0] = max(most[0], int(sum(server.metric(figure, service="generator") for figure in figures)))
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    flood(server.address, 40, 4)
    over.set()
    thread.join()
    return most[0]


def measure_overload(bench: Bench) -> None:
    """Ten times as many callers as the server takes, against exactly as many."""
    server = bench.serve("--max-running", "4", "--max-waiting", "4")
    seconds = 5 if bench.quick else 60
    limit = admission_limit(server)
    at_limit, _ = flood(server.address, limit, seconds / 2)
    before = server.peak_memory()
    overloaded, outcomes = flood(server.address, 10 * limit, seconds)
    growth = server.peak_memory() - before
    details = {
        "limit": limit,
        "at_limit_p99_ms": percentile(at_limit, 0.99),
        "overloaded_p99_ms": percentile(overloaded, 0.99),
        "outcomes": outcomes,
        "load": load_average(),
    }
    ratio = percentile(overloaded, 0.99) / percentile(at_limit, 0.99)
    bench.report.at_most("overload_first_token_p99_ratio", ratio, 3, n=len(overloaded), details=details)
    wrong = sum(number for outcome, number in outcomes.items() if outcome not in ("OK", "OVERLOADED"))
    bench.report.at_most("overload_refused_otherwise", wrong, 0, n=sum(outcomes.values()))
    bench.report.at_most(
        "overload_memory_growth_mb", growth / 2**20, 256, details={"peak_mb": server.peak_memory() / 2**20}
    )
    server.wait_until_idle()
    with ilre.Client(server.address) as client:
        ask_ms(client, 0)
    server.terminate()


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "latency": measure_latency,
    "batching": measure_batching,
    "overload": measure_overload,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench/services",
        description="Measures `ilre serve` with the default model through the Python client. Prints a JSON object a "
        "line on standard output {name, value, n, bar, passed, details}, progress on standard error.",
    )
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="NAME", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="small versions of all, to try them; no figures to report")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its bar")
    parser.add_argument("--programs", default=str(ROOT / "build/release/bin"), help="folder of the programs")
    arguments = parser.parse_args()
    report = Report()
    report.add(machine())
    bench = Bench(report, arguments.programs, arguments.quick)
    try:
        for name in arguments.only or SECTIONS:
            progress(f"--- {name}")
            SECTIONS[name](bench)
    finally:
        bench.close()
    if report.missed:
        progress(f"missed: {', '.join(report.missed)}")
    return 1 if arguments.check and report.missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ProseMissingError as error:
        sys.exit(f"bench/services: {error}")
