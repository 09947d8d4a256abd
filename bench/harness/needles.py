"""Are needles recalled, and questions about them answered right?"""

import collections
import statistics
from typing import Any, Sequence

from harness import prose, tasks
from harness.ilre import Engine, Store
from harness.report import Report, bootstrap_interval, progress

LENGTHS = (8_192, 32_768, 131_072)  # tokens
ANSWERED_LENGTH = 32_768  # at the others only recall is measured
QUICK_LENGTHS = (4_096,)
BUDGET = 512  # tokens
RECALL_BAR = 0.95
ANSWER_BAR = 0.75
ANSWER_TOKENS = 128
INSTRUCTION = "the default one of `ilre`"


def is_recalled(needle: tuple[int, int], spans: Sequence[dict[str, Any]]) -> bool:
    """Whether each byte from the key to the value lies in a span that is in the prompt."""
    at, end = needle
    for span in sorted((span for span in spans if span["in_prompt"]), key=lambda span: span["byte_begin"]):
        if span["byte_begin"] <= at < span["byte_end"]:
            at = span["byte_end"]
    return at >= end


def count_with(engine: Engine, scratch: str | None) -> tasks.Lengths:
    def count_tokens(text: str) -> int:
        with Store(engine, scratch) as store:
            return store.ingest("sample", text).tokens

    return tasks.Lengths(count_tokens)


def measure(
    report: Report, engine: Engine, scratch: str | None, quick: bool, only_lengths: Sequence[int] | None = None
) -> None:
    """The needle tasks at each length; answers where a full-context model of this size has long given up."""
    lengths = only_lengths or (QUICK_LENGTHS if quick else LENGTHS)
    answered = QUICK_LENGTHS[0] if quick else ANSWERED_LENGTH
    samples_per_task = 1 if quick else 5
    estimate = count_with(engine, scratch)
    for length in lengths:
        names = [*tasks.NEEDLE_TASKS, *([tasks.CHAIN_TASK] if length == answered else [])]
        samples = [
            tasks.make(name, seed, length, prose.sentences(), estimate)
            for name in names
            for seed in range(samples_per_task)
        ]
        with Store(engine, scratch) as store:
            read_all(store, samples)
            results = ask_all(store, samples, BUDGET, ANSWER_TOKENS if length == answered else 0)
        _report_recall(report, samples, results, length)
        if length == answered:
            _report_answers(report, samples, results, length)


def read_all(store: Store, samples: Sequence[tasks.Sample]) -> list[str]:
    """-> the documents' names"""
    names = []
    for i, sample in enumerate(samples):
        names.append(f"sample-{i}")
        done = store.ingest(names[-1], sample.document)
        progress(f"{i + 1}/{len(samples)} {sample.task}: {done.tokens} tokens in {done.seconds:.1f} s")
    return names


def ask_all(
    store: Store, samples: Sequence[tasks.Sample], budget: int, max_tokens: int, engine: Engine | None = None
) -> list[dict[str, Any]]:
    """Each about its document, as read_all named it. engine: in place of the store's"""
    asked = (
        {
            "documents": [f"sample-{i}"],
            "question": sample.question,
            "answer_prefix": sample.answer_prefix,
            "budget": budget,
            "max_tokens": max_tokens,
        }
        for i, sample in enumerate(samples)
    )
    return store.ask_batch_measured(asked, engine)[0]


def _report_recall(
    report: Report, samples: Sequence[tasks.Sample], results: Sequence[dict[str, Any]], length: int
) -> None:
    recalled: dict[str, list[bool]] = collections.defaultdict(list)
    for sample, result in zip(samples, results):
        recalled[sample.task] += [is_recalled(needle, result["spans"]) for needle in sample.needles]
    per_task = {task: statistics.fmean(shares) for task, shares in recalled.items() if task != tasks.CHAIN_TASK}
    needles = [hit for task, hits in recalled.items() if task != tasks.CHAIN_TASK for hit in hits]
    details = {
        "per_task": per_task,
        "interval_95": bootstrap_interval(needles),
        "budget": BUDGET,
        "document_tokens": _range([result["document_tokens"] for result in results]),
        "prompt_tokens_recalled": _range([_tokens_in_prompt(result) for result in results]),
    }
    report.at_least(
        f"needles.recall_{length}", statistics.fmean(needles), RECALL_BAR, n=len(needles), details=details
    )
    if tasks.CHAIN_TASK in recalled:
        report.note(f"needles.chain_recall_{length}", statistics.fmean(recalled[tasks.CHAIN_TASK]), n=len(recalled[tasks.CHAIN_TASK]))


def _report_answers(
    report: Report, samples: Sequence[tasks.Sample], results: Sequence[dict[str, Any]], length: int
) -> None:
    scores: dict[str, list[float]] = collections.defaultdict(list)
    wrong = []
    for sample, result in zip(samples, results):
        right = tasks.score(result["answer"], sample.answers)
        scores[sample.task].append(right)
        if right < 1 and sample.task in tasks.SINGLE_ANSWER:
            wrong.append({"task": sample.task, "expected": sample.answers[0], "answer": result["answer"][:100]})
    single = [right for task in tasks.SINGLE_ANSWER for right in scores[task]]
    report.at_least(
        f"needles.answers_{length}",
        statistics.fmean(single),
        ANSWER_BAR,
        n=len(single),
        details={
            "per_task": {task: round(statistics.fmean(values), 3) for task, values in scores.items()},
            "interval_95": bootstrap_interval(single),
            "instruction": INSTRUCTION,
            "wrong": wrong,
        },
    )


def _tokens_in_prompt(result: dict[str, Any]) -> int:
    return sum(span["token_end"] - span["token_begin"] for span in result["spans"] if span["in_prompt"])


def _range(values: Sequence[int]) -> list[int]:
    return [min(values), round(statistics.median(values)), max(values)]
