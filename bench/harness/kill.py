"""SIGKILL at random moments of an ingest: nothing acknowledged is lost, and in the end it is as if nothing happened."""

import dataclasses
import random
import signal
import subprocess
import time

from harness import prose
from harness.ilre import Engine, EngineError, Store
from harness.report import Report, progress

TEXT_BYTES = 260_000  # about 60,000 tokens
COMMIT_BLOCKS = "4"  # often, so that kills fall on all sides of commits
DOCUMENT = "document"
MAX_STARTS = 100  # of one document: if it is never finished, something is wrong
SHARE_BEFORE_KILL = 0.3  # of an undisturbed ingest's work, at the most
QUICK_SHARE_BEFORE_KILL = 0.9  # of which loading is the greater part
LAST_WAIT_SECONDS = 0.02  # so that kills also fall while it waits for the disk
POLL_SECONDS = 0.002


@dataclasses.dataclass
class Tally:
    kills: int = 0
    kills_after_commit: int = 0  # something was stored already
    finished: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)


def measure(report: Report, engine: Engine, scratch: str | None, quick: bool, kills: int) -> None:
    """Ingests the text again and again, killing and resuming, until that many kills; the last time to the end."""
    text = prose.passage(40_000 if quick else TEXT_BYTES, seed=10, foreign=True)
    kills = min(kills, 5) if quick else kills
    rng = random.Random(11)
    tally = Tally()
    with Store(engine, scratch) as store:
        undisturbed = store.ingest(DOCUMENT, text, "--commit-blocks", COMMIT_BLOCKS)
        expected = store.checksums(DOCUMENT)
    most_work = undisturbed.cpu_seconds * (QUICK_SHARE_BEFORE_KILL if quick else SHARE_BEFORE_KILL)
    while tally.kills < kills:
        with Store(engine, scratch) as store:
            _ingest_through_kills(store, text, expected, most_work, kills, rng, tally)
        progress(f"{tally.kills} kills, {tally.finished} documents finished")
    details = {
        "kills_after_a_commit": tally.kills_after_commit,
        "documents_finished": tally.finished,
        "document_tokens": undisturbed.tokens,
    }
    report.at_most("kill.acknowledged_lost", len(tally.lost), 0, n=tally.kills, details=details | {"lost": tally.lost})
    report.at_most("kill.different", len(tally.wrong), 0, n=tally.finished, details={"wrong": tally.wrong})


def _ingest_through_kills(
    store: Store, text: str, expected: str, most_work: float, kills: int, rng: random.Random, tally: Tally
) -> None:
    """most_work: processor seconds of one run at the most before it is killed."""
    path = store.write_text(DOCUMENT, text)
    acknowledged = 0
    for _ in range(MAX_STARTS):
        work = rng.uniform(0, most_work) if tally.kills < kills else None
        output, killed = _run_for(store, str(path), work, rng.uniform(0, LAST_WAIT_SECONDS))
        lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
        acknowledged = max([acknowledged, *(int(line[1]) for line in lines if line[0] == b"acknowledged")])
        row = store.show(DOCUMENT)
        stored = row["bytes"] if row else 0
        if killed:
            tally.kills += 1
            tally.kills_after_commit += stored > 0
            if stored < acknowledged:
                tally.lost.append(f"kill {tally.kills}: {stored} bytes of {acknowledged} acknowledged")
            if row and row["state"] == "READY" and stored != len(text.encode()):
                tally.wrong.append(f"kill {tally.kills}: READY with {stored} bytes")
        if row and row["state"] == "READY":
            break
    tally.finished += 1
    if store.checksums(DOCUMENT) != expected:
        tally.wrong.append(f"document {tally.finished}: other blocks than an undisturbed ingest")
    store.run("inspect", DOCUMENT, "--verify")


def _run_for(store: Store, path: str, cpu_seconds: float | None, last_wait_seconds: float) -> tuple[bytes, bool]:
    """Starts or resumes the ingest, kills it when it has worked so long. -> what it printed, whether it was killed."""
    process = store.start_ingest(
        DOCUMENT, "--commit-blocks", COMMIT_BLOCKS, "--acknowledge", source=path, stdin=subprocess.DEVNULL
    )
    if cpu_seconds is not None:
        _wait_for_work(process, cpu_seconds)
        time.sleep(last_wait_seconds)
        process.send_signal(signal.SIGKILL)
    output, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise EngineError(f"ilre ingest after a kill: {errors.decode(errors='replace').strip()}")
    return output, process.returncode != 0


def _wait_for_work(process: subprocess.Popen[bytes], cpu_seconds: float) -> None:
    """Until the process has used that much processor time, which is the same on a busy machine, or has ended."""
    clock = (~process.pid << 3) | 2  # clock_getcpuclockid(3) of a process
    while process.poll() is None and time.clock_gettime(clock) < cpu_seconds:
        time.sleep(POLL_SECONDS)
