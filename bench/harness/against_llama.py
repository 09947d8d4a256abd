"""Reading a text once and keeping it: against llama.cpp's prefill and its saved state, same weights, same tokens.

Threads of llama.cpp wait for each other by spinning: on a machine that does other work as well its times say little.
Processor time with one thread each is given beside them, which other work hardly changes.
"""

import statistics
from typing import Any

from harness import child, llama, prose
from harness.ilre import DEFAULT_MODEL, Engine, Ingest, Store
from harness.report import Report, cores, load_average, progress

TOKENS = 8192
SPEED_BAR = 40
SIZE_BAR = 0.01
OUR_REPEATS = 5


def measure(report: Report, engine: Engine, scratch: str | None, quick: bool, model: str | None) -> None:
    if not llama.is_installed():
        report.skip("llama", "no llama_cpp: .venv/bin/pip install llama-cpp-python==0.3.36")
        return
    model = model or str(DEFAULT_MODEL)
    num_tokens = TOKENS // (8 if quick else 1)
    cut = llama.tokenize(model, [prose.passage(num_tokens * 6, seed=7)], num_tokens)[0]
    text = cut["text"]
    before = [_ingest(engine, scratch, text) for _ in range(OUR_REPEATS)]
    theirs = _prefill(model, cut["ids"], 1 if quick else 2, cores())
    after = [_ingest(engine, scratch, text) for _ in range(OUR_REPEATS)]
    alone = _prefill(model, cut["ids"], 1, 1)
    ours_alone = [_ingest(engine, scratch, text, "--threads", "1")[0] for _ in range(OUR_REPEATS)]
    ours = before + after  # around theirs, so that a busy hour of the machine meets both
    _report_speed(report, [done for done, _ in ours], theirs)
    _report_processor_time(report, ours_alone, alone)
    _report_size(report, ours[0][0].tokens, ours[0][1], theirs)


def _prefill(model: str, ids: list[int], repeats: int, threads: int) -> dict[str, Any]:
    request = {"action": "prefill", "model": model, "ids": ids, "repeats": repeats, "threads": threads}
    return child.run("harness.llama", request)


def _ingest(engine: Engine, scratch: str | None, text: str, *options: str) -> tuple[Ingest, dict[str, int]]:
    with Store(engine, scratch) as store:
        done = store.ingest("prose", text, *options)
        disk_bytes = store.statistics()["disk_bytes"]
        folder_bytes = store.folder_bytes()
    progress(f"{done.tokens} tokens in {done.seconds:.3f} s, {done.wall_seconds:.3f} s with loading")
    return done, {"disk_bytes": disk_bytes, "folder_bytes": folder_bytes}


def _report_speed(report: Report, ours: list[Ingest], theirs: dict[str, Any]) -> None:
    seconds = statistics.median(done.seconds for done in ours)
    wall_seconds = statistics.median(done.wall_seconds for done in ours)
    their_seconds = statistics.median(theirs["seconds"])
    details = {
        "tokens": ours[0].tokens,
        "llama_tokens": theirs["tokens"],
        "seconds": [round(done.seconds, 3) for done in ours],
        "llama_seconds": [round(value, 2) for value in theirs["seconds"]],
        "threads": cores(),
        "load": load_average(),
        "times_faster_with_loading": round(their_seconds / wall_seconds, 1),
        "wall_seconds": round(wall_seconds, 3),
    }
    report.at_least("llama.times_faster", their_seconds / seconds, SPEED_BAR, n=len(ours), details=details)


def _report_processor_time(report: Report, ours: list[Ingest], theirs: dict[str, Any]) -> None:
    """Ours counts loading, tokenizing and the store; theirs reading alone."""
    cpu_seconds = statistics.median(done.cpu_seconds for done in ours)
    details = {"cpu_seconds": round(cpu_seconds, 3), "llama_cpu_seconds": round(theirs["cpu_seconds"][0], 2)}
    report.note("llama.times_less_processor_time", theirs["cpu_seconds"][0] / cpu_seconds, n=len(ours), details=details)


def _report_size(report: Report, tokens: int, ours: dict[str, int], theirs: dict[str, Any]) -> None:
    per_token = ours["disk_bytes"] / tokens
    their_per_token = theirs["state_bytes"] / theirs["tokens"]
    details = {
        "bytes_per_token": round(per_token, 1),
        "llama_bytes_per_token": round(their_per_token, 1),
        "folder_bytes_per_token": round(ours["folder_bytes"] / tokens, 1),
    }
    report.at_most("llama.stored_share", per_token / their_per_token, SIZE_BAR, n=1, details=details)
