"""bench/peers: this project beside llama.cpp, transformers and KVPress, on one machine, in one run, with one model's
weights; and alone where they cannot follow."""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
from typing import Any, Callable

from harness import child, cost, llama, ours, outcomes, page_cache, prose
from harness.ilre import ROOT, Engine, EngineError, Store
from harness.outcomes import OURS, Outcome
from harness.prose import ProseMissingError
from harness.report import Report, cores, load_average, machine, progress, repeated

KEPT = 512  # tokens that are recalled, and that SnapKV leaves
LLAMA, FLASH, SHORT = "llama.cpp", "llama.cpp, flash attention", "llama.cpp, short prompt"
FULL, SNAPKV = "transformers", "KVPress SnapKV"
PARTS = 10  # documents of the collection
HEAD = "<|im_start|>user\nText:\n"
TAIL = "\n\nQuestion: {}<|im_end|>\n<|im_start|>assistant\n"


@dataclasses.dataclass
class Bench:
    report: Report
    engine: Engine
    scratch: str | None
    folder: pathlib.Path
    runs: int
    patience: float
    decode_tokens: int
    torch_python: str
    quick: bool

    def record(self, outcome: Outcome) -> Outcome:
        """Keeps it, with what else the machine had to do, and draws tables and plots anew."""
        outcome.details["load"] = load_average()
        path = self.folder / "outcomes.jsonl"
        outcomes.write_all(self.folder, outcomes.merged(outcomes.read(path), [outcome]))
        for name in outcome.values:
            self.report.note(
                f"{outcome.peer}.{outcome.tokens}.{name}",
                outcome.median(name),
                n=len(outcome.values[name]),
                details={"values": outcome.values[name]},
            )
        return outcome

    def child_request(self, ids: list[int], questions: list[list[int]]) -> dict[str, Any]:
        return {
            "model": self.engine.model,
            "ids": ids,
            "questions": questions,
            "runs": self.runs,
            "patience": self.patience,
            "decode_tokens": self.decode_tokens,
            "threads": cores(),
        }


# Beside others.


def measure_against(bench: Bench, lengths: list[int]) -> None:
    if not llama.is_installed():
        bench.report.skip("against", "no llama_cpp: .venv/bin/pip install llama-cpp-python==0.3.36")
        return
    tails = llama.tokenize(bench.engine.model, [TAIL.format(question) for question in ours.QUESTIONS])
    questions = [tail["ids"] for tail in tails]
    for length in lengths:
        text = prose.passage(length * 6, seed=7)
        cut = llama.tokenize(bench.engine.model, [text], length)[0]
        result = ours.measure(bench.engine, bench.scratch, cut["text"], bench.runs, bench.patience, bench.decode_tokens)
        mine = bench.record(outcomes.from_result(OURS, {**result, "tokens": length}))
        theirs = _measure_llama(bench, cut["ids"], questions, result["spans"])
        _measure_torch(bench, cut["ids"], questions)
        _judge(bench.report, mine, theirs)


def _measure_llama(bench: Bench, ids: list[int], questions: list[list[int]], spans: list[str]) -> dict[str, Outcome]:
    """With its default, without flash attention, and with it."""
    prompt = HEAD + "\n...\n".join(spans) + TAIL.format(ours.QUESTIONS[0])
    short_prompt = llama.tokenize(bench.engine.model, [prompt])[0]["ids"]
    measured = {}
    for peer, flash in ((LLAMA, False), (FLASH, True)):
        with tempfile.TemporaryDirectory(prefix="llama-bench-", dir=bench.scratch) as folder:
            state = pathlib.Path(folder) / "state"
            request = {**bench.child_request(ids, questions), "short_prompt": short_prompt}
            warm = {"action": "measure", "state_file": str(state), "flash": flash, **request}
            result = child.run("harness.llama", warm)
            result["cold_s"] = _restarts(bench, state, flash, len(ids), questions)
        measured[peer] = bench.record(outcomes.from_result(peer, result))
        if not flash:
            renamed = {"first_token_s": "short_first_token_s", "tokens_per_s": "short_tokens_per_s"}
            short = {name: result[name] for name in ("tokens", "short_tokens", *renamed.values())}
            measured[SHORT] = bench.record(outcomes.from_result(SHORT, short, renamed))
    return measured


def _restarts(
    bench: Bench, state: pathlib.Path, flash: bool, num_tokens: int, questions: list[list[int]]
) -> list[float]:
    """Seconds of llama.cpp's start with nothing in the page cache, to the first token of an answer."""
    request = {"action": "restart", "model": bench.engine.model, "state_file": str(state), "flash": flash}
    request |= {"num_tokens": num_tokens, "threads": cores()}

    def once(run: int) -> float:
        page_cache.drop([state, pathlib.Path(bench.engine.model)])
        return child.run("harness.llama", {**request, "question": questions[run % len(questions)]})["seconds"]

    return repeated(once, bench.runs, bench.patience)


def _measure_torch(bench: Bench, ids: list[int], questions: list[list[int]]) -> None:
    if not child.can_import("transformers, gguf, kvpress", bench.torch_python):
        bench.report.skip("transformers", "no transformers with kvpress: bench/peers --setup")
        return
    for peer, keep in ((FULL, None), (SNAPKV, KEPT)):
        request = {**bench.child_request(ids, questions), "keep": keep}
        try:
            result = child.run("harness.torch_peer", request, bench.torch_python)
        except child.ChildError as error:  # of a run of hours, the rest is worth having
            bench.report.skip(f"{peer}.{len(ids)}", str(error))
            continue
        bench.record(outcomes.from_result(peer, result))


def _ratio(measure: str, one: Outcome, other: Outcome) -> float:
    first, second = one.median(measure), other.median(measure)
    assert first is not None and second is not None
    return first / second


def _first_tokens(report: Report, mine: Outcome, bar_s: float, prefix: str = "") -> dict[str, float]:
    """As the profile has it (the prompt holds what comes near the best score), and with the whole budget in the prompt.

    -> the medians, by name
    """
    medians = {}
    for way in ("", "whole_budget_"):
        name = f"{prefix}{way}first_token.{mine.tokens}"
        seconds = mine.details[f"{way}first_token_s"] if way else mine.values["first_token_s"]
        details = {"seconds": seconds, "prompt_tokens": mine.details[f"{way}prompt_tokens"]}
        medians[name] = statistics.median(seconds)
        report.at_most(name, medians[name], bar_s, n=len(seconds), details=details)
    return medians


def _judge(report: Report, mine: Outcome, theirs: dict[str, Outcome]) -> None:
    """Ratios to llama.cpp, and what some have to be."""
    tokens = mine.tokens
    n = min(len(mine.values["read_s"]), len(theirs[LLAMA].values["read_s"]))
    faster = _ratio("read_s", theirs[LLAMA], mine)
    bars = {8192: 100, 16384: 250}
    details = {"against_flash_attention": round(_ratio("read_s", theirs[FLASH], mine), 1)}
    if tokens in bars:
        report.at_least(f"reading.{tokens}.times_faster", faster, bars[tokens], n=n, details=details)
    else:
        report.note(f"reading.{tokens}.times_faster", faster, n=n, details=details)
    if tokens != 8192:
        return
    best_of_llama = min(theirs[peer].median("first_token_s") or 0 for peer in (LLAMA, FLASH))
    for name, seconds in _first_tokens(report, mine, 0.4).items():
        details = {"llama": best_of_llama}
        report.at_most(f"{name}.share_of_restored_llama", seconds / best_of_llama, 1, details=details)
    report.at_least("answers.8192.times_faster", _ratio("tokens_per_s", mine, theirs[LLAMA]), 2.5)
    report.at_least("answers.8192.against_short_prompt", _ratio("tokens_per_s", mine, theirs[SHORT]), 1)
    report.at_most("kept.8192.share_of_llama", _ratio("stored_bytes", mine, theirs[LLAMA]), 0.01)


# Alone.


def measure_alone(bench: Bench, lengths: list[int]) -> None:
    """One document each, of lengths that others take hours for."""
    found = {}
    for length in lengths:
        text = ours.text_of(bench.engine, length, seed=6)
        result = ours.measure(bench.engine, bench.scratch, text, bench.runs, bench.patience, bench.decode_tokens)
        found[length] = bench.record(
            outcomes.from_result(OURS, {**result, "exact_tokens": result["tokens"], "tokens": length})
        )
    rates = {n: found[n].details["exact_tokens"] / (found[n].median("read_s") or 1) for n in found}
    for length, rate in rates.items():
        bench.report.note(f"reading.{length}.tokens_per_second", rate)
    if 1_000_000 in found:
        large = found[1_000_000]
        bench.report.at_most("reading.1000000.seconds", large.median("read_s") or 0, 40)
        _first_tokens(bench.report, large, 0.5)
        if 50_000 in rates:
            bench.report.at_least("reading.1000000.rate_share_of_50000", rates[1_000_000] / rates[50_000], 0.9)


def measure_collection(bench: Bench, lengths: list[int]) -> None:
    """Questions over a collection of several documents, of so many tokens together."""
    for length in lengths:
        with Store(bench.engine, bench.scratch) as store:
            texts = (ours.text_of(bench.engine, length // PARTS, seed=100 + part) for part in range(PARTS))
            done = [store.ingest(f"part{part}", text, measure_memory=True) for part, text in enumerate(texts)]
            result = ours.measure_asking(store, None, bench.runs, bench.decode_tokens)
        result["read_s"] = [sum(one.seconds for one in done)]
        result["peak_bytes"] = [max(*(one.peak_rss_bytes for one in done), result["ask_peak_bytes"])]
        result = {**result, "exact_tokens": result["tokens"], "tokens": length}
        outcome = bench.record(outcomes.from_result(f"{OURS}, {PARTS} documents", result))
        _first_tokens(bench.report, outcome, 1.2, "collection.")
        bench.report.at_most(f"collection.peak_gib.{length}", result["peak_bytes"][0] / 2**30, 3)


def parse_arguments(sections: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/peers",
        description="Measures ilre beside llama.cpp, transformers and KVPress's SnapKV, with the same weights, and "
        "alone where they cannot follow. Prints a JSON object a line on standard output {name, value, n, bar, passed, "
        "details}, progress on standard error; writes outcomes.jsonl, peers.md and plots. `bench/peers --setup` makes "
        "an environment for the last two, which need another version of transformers than the tests.",
    )
    parser.add_argument("--only", nargs="+", choices=sections, metavar="NAME", help=f"of {', '.join(sections)}")
    parser.add_argument("--lengths", type=int, nargs="+", metavar="TOKENS", help="in all sections but cost")
    parser.add_argument("--runs", type=int, default=5, help="of each measurement [%(default)s]")
    parser.add_argument(
        "--patience", type=float, default=600, metavar="SECONDS", help="after which there are fewer runs [%(default)s]"
    )
    parser.add_argument("--decode-tokens", type=int, default=48, help="of each answer [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="small versions of all, to try them; no figures to report")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its bar")
    parser.add_argument("--output", default=str(ROOT / "build/peers"), metavar="FOLDER", help="[%(default)s]")
    parser.add_argument("--ilre", metavar="FILE", help="the program [build/release/bin/ilre]")
    parser.add_argument("--model", help="a GGUF file")
    parser.add_argument("--profile", help="as of ilre")
    parser.add_argument("--scratch", metavar="FOLDER", help="where data directories are made and removed [$TMPDIR]")
    parser.add_argument(
        "--torch-python",
        default=str(ROOT / "build/peers-venv/bin/python"),
        help="Python with transformers and kvpress [%(default)s]",
    )
    return parser.parse_args()


def main() -> int:
    names = ["against", "alone", "collection", "cost"]
    arguments = parse_arguments(names)
    quick = arguments.quick
    bench = Bench(
        Report(),
        Engine(arguments.ilre, arguments.model, arguments.profile),
        arguments.scratch,
        pathlib.Path(arguments.output),
        2 if quick else arguments.runs,
        arguments.patience,
        8 if quick else arguments.decode_tokens,
        arguments.torch_python,
        quick,
    )
    against, alone = [2048, 8192, 16384], [10_000, 50_000, 128_000, 1_000_000, 10_000_000]
    sections: dict[str, Callable[[], None]] = {
        "against": lambda: measure_against(bench, arguments.lengths or ([1024] if quick else against)),
        "alone": lambda: measure_alone(bench, arguments.lengths or ([10_000] if quick else alone)),
        "collection": lambda: measure_collection(bench, [50_000] if quick else arguments.lengths or [10_000_000]),
        "cost": lambda: cost.measure(bench.report, bench.engine, bench.scratch, bench.folder, bench.runs, quick),
    }
    bench.report.add(machine())
    for name in arguments.only or names:
        progress(f"--- {name}")
        sections[name]()
    if bench.report.missed:
        progress(f"missed: {', '.join(bench.report.missed)}")
    return 1 if arguments.check and bench.report.missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EngineError, ProseMissingError, child.ChildError, OSError) as error:
        sys.exit(f"bench/peers: {error}")
