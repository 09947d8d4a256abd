"""This project as it is compared with others: reading, questions, answers, a start with nothing in memory."""

import dataclasses
import functools
import pathlib
import statistics
import time
from typing import Any

from harness import page_cache, prose
from harness.ilre import Engine, Ingest, Store
from harness.report import progress, repeated

# Of the King James Bible, which all texts here are made from.
QUESTIONS = (
    "Who was the father of Solomon?",
    "What did Moses strike with his rod?",
    "Where was Paul shipwrecked?",
    "Who denied Jesus three times?",
    "What did the ravens bring to Elijah?",
)
INSTRUCTION = "Tell a long story about it."  # what makes answers long enough to measure their speed


@dataclasses.dataclass
class Asked:
    """What a process that is asked several questions did, the first of them left out."""

    answers: list[dict[str, Any]]
    peak_bytes: int

    def timings(self, name: str) -> list[float]:
        """Seconds."""
        return [answer["timings_ms"][name] / 1000 for answer in self.answers]

    def rates(self) -> list[float]:
        """Tokens per second after the first."""
        return [
            (answer["answer_tokens"] - 1) / (answer["timings_ms"]["total"] - answer["timings_ms"]["first_token"]) * 1000
            for answer in self.answers
            if answer["answer_tokens"] > 1
        ]


def without_floor(engine: Engine, folder: pathlib.Path) -> Engine:
    """With which the whole budget is in the prompt, not only what comes near the best score: a copy of the profile."""

    def no_floor(profile: dict[str, Any]) -> None:
        profile["prompt_floor"] = profile["prompt_word_floor"] = 0

    return engine.with_changes(folder, "whole-budget", no_floor)


def text_of(engine: Engine, num_tokens: int, seed: int) -> str:
    """Text of about num_tokens tokens, rather more than fewer."""
    return prose.varied(int(num_tokens * _bytes_per_token(engine) * 1.01), seed)


@functools.cache
def _bytes_per_token(engine: Engine) -> float:
    with Store(engine) as store:
        return store.bytes_per_token(prose.varied(200_000, seed=5))


def read(engine: Engine, scratch: str | None, text: str, runs: int, patience: float) -> tuple[list[Ingest], Store]:
    """Ingests the text as `default/text` into a new store each time. -> (what each did, the last store: close it)"""
    stores: list[Store] = []

    def once(_: int) -> Ingest:
        if stores:
            stores.pop().close()
        stores.append(Store(engine, scratch))
        return stores[0].ingest("text", text, measure_memory=True)

    return repeated(once, runs, patience), stores[0]


def ask(store: Store, documents: list[str] | None, runs: int, engine: Engine | None = None, **question: Any) -> Asked:
    """Questions in turn, after one that brings things into memory. documents: None: all of the collection."""
    where: dict[str, Any] = {"documents": documents} if documents else {"collection": "default"}
    lines = [{**where, "question": QUESTIONS[run % len(QUESTIONS)], **question} for run in range(-1, runs)]
    answers, peak_bytes = store.ask_batch_measured(lines, engine)
    return Asked(answers[1:], peak_bytes)


def restart(store: Store, run: int) -> tuple[float, str]:
    """Seconds of a whole process that starts, with nothing in the page cache, until the first token of an answer."""
    engine = store.engine
    scope = page_cache.drop([store.data_dir, *map(pathlib.Path, (engine.binary, engine.profile, engine.model))])
    start = time.monotonic()
    store.run("ask", "--collection", "default", "--max-tokens", "1", QUESTIONS[run % len(QUESTIONS)])
    return time.monotonic() - start, scope


def measure(
    engine: Engine, scratch: str | None, text: str, runs: int, patience: float, decode_tokens: int
) -> dict[str, Any]:
    """All figures of a document that is one text; lists have a value a run."""
    done, store = read(engine, scratch, text, runs, patience)
    with store:
        result = measure_asking(store, ["text"], runs, decode_tokens)
    result["read_s"] = [one.seconds for one in done]
    result["read_with_loading_s"] = [one.wall_seconds for one in done]
    result["read_cpu_s"] = [one.cpu_seconds for one in done]
    result["read_peak_bytes"] = [one.peak_rss_bytes for one in done]
    result["peak_bytes"] = [max(*result["read_peak_bytes"], result["ask_peak_bytes"])]
    progress(f"{result['tokens']} tokens in {statistics.median(result['read_s']):.3f} s")
    return result


def measure_asking(store: Store, documents: list[str] | None, runs: int, decode_tokens: int) -> dict[str, Any]:
    """What has to do with questions, of a store that is there."""
    short = ask(store, documents, runs, max_tokens=1)
    whole_budget = without_floor(store.engine, store.folder)
    whole = ask(store, documents, runs, whole_budget, max_tokens=decode_tokens, instruction=INSTRUCTION)
    restarts = [restart(store, run) for run in range(runs)]
    return {
        "tokens": short.answers[0]["document_tokens"],
        "first_token_s": short.timings("first_token"),
        "score_s": short.timings("score"),
        "second_look_s": short.timings("second_look"),
        "prefill_s": short.timings("prefill"),
        "prompt_tokens": [answer["prompt_tokens"] for answer in short.answers],
        "whole_budget_first_token_s": whole.timings("first_token"),
        "whole_budget_prompt_tokens": [answer["prompt_tokens"] for answer in whole.answers],
        "tokens_per_s": whole.rates(),
        "spans": [span["text"] for span in whole.answers[0]["spans"]],
        "answer": whole.answers[-1]["answer"],
        "stored_bytes": [store.statistics()["disk_bytes"]],
        "folder_bytes": store.folder_bytes(),
        "ask_peak_bytes": max(short.peak_bytes, whole.peak_bytes),
        "cold_s": [seconds for seconds, _ in restarts],
        "cold_scope": restarts[0][1],
    }
