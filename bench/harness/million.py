"""A million tokens: how long, how much memory, and are two needles in it found?"""

import random
from typing import Any

from harness import prose, tasks
from harness.ilre import Engine, Store
from harness.report import Report, load_average, progress

SIZES = (100_000, 1_000_000)  # tokens
INGEST_BAR_SECONDS = 90
FIRST_TOKEN_BAR_MS = 2000
MEMORY_RATIO_BAR = 1.10
MEMORY_BAR_BYTES = 2 << 30
KEYS = ("velvet-anchor", "copper-meadow")
NEEDLE = tasks.NeedleTask("essay", "words", "numbers", num_keys=2)


def measure(report: Report, engine: Engine, scratch: str | None, quick: bool) -> None:
    small, large = (size // (20 if quick else 1) for size in SIZES)
    rng = random.Random(4)
    values = [str(rng.randint(1_000_000, 9_999_999)) for _ in KEYS]
    with Store(engine, scratch) as store:
        bytes_per_token = store.bytes_per_token(prose.passage(400_000, seed=5))
        small_peak = store.ingest(
            "small", _document(small, bytes_per_token, values), measure_memory=True
        ).peak_rss_bytes
        progress(f"{small} tokens: {small_peak >> 20} MiB")
        done = store.ingest("large", _document(large, bytes_per_token, values), measure_memory=True)
        progress(f"{done.tokens} tokens: {done.wall_seconds:.1f} s, {done.peak_rss_bytes >> 20} MiB")
        answers = store.ask_batch(_question(key) for key in KEYS)
    details = {
        "tokens": done.tokens,
        "tokens_per_second": round(done.tokens / done.seconds),
        "cpu_seconds": round(done.cpu_seconds, 1),
        "load": load_average(),
    }
    report.at_most("million.ingest_seconds", done.wall_seconds, INGEST_BAR_SECONDS, n=1, details=details)
    _report_answers(report, answers, values)
    _report_memory(report, small_peak, done.peak_rss_bytes)


def _document(num_tokens: int, bytes_per_token: float, values: list[str]) -> str:
    """Prose of about num_tokens tokens, rather more than fewer, with needles at one third and two thirds."""
    text = prose.passage(int(num_tokens * bytes_per_token * 1.01), seed=6)
    for third, (key, value) in reversed(list(enumerate(zip(KEYS, values), start=1))):
        at = text.index(". ", len(text) * third // 3) + 2
        text = text[:at] + tasks.needle_sentence("numbers", key, value) + " " + text[at:]
    return text


def _question(key: str) -> dict[str, Any]:
    question, prefix = tasks.wording(NEEDLE, [key])
    return {"documents": ["large"], "question": question, "answer_prefix": prefix, "max_tokens": 32}


def _report_answers(report: Report, answers: list[dict[str, Any]], values: list[str]) -> None:
    right = [tasks.score(answer["answer"], [value]) for answer, value in zip(answers, values)]
    texts = [answer["answer"][:80] for answer in answers]
    report.at_least("million.answers", sum(right), len(KEYS), n=len(KEYS), details={"answers": texts})
    timings = [answer["timings_ms"] for answer in answers]
    slowest = max(timing["first_token"] for timing in timings) / 1000
    report.at_most(
        "million.first_token_seconds",
        slowest,
        FIRST_TOKEN_BAR_MS / 1000,
        n=len(answers),
        details={"timings_ms": timings, "prompt_tokens": [answer["prompt_tokens"] for answer in answers]},
    )


def _report_memory(report: Report, small_peak: int, large_peak: int) -> None:
    details = {"small_mib": small_peak >> 20, "large_mib": large_peak >> 20, "sizes_tokens": SIZES}
    report.at_most("million.memory_ratio", large_peak / small_peak, MEMORY_RATIO_BAR, n=2, details=details)
    report.at_most("million.memory_gib", large_peak / 2**30, MEMORY_BAR_BYTES / 2**30, n=1)
