"""Drives the `ilre` program as a user would: one process a command, over a data directory."""

import dataclasses
import json
import os
import pathlib
import re
import resource
import subprocess
import tempfile
import threading
import time
from typing import Any, BinaryIO, Callable, Iterable

from harness.squad import Segment

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULT_MODEL = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_PROFILE = ROOT / "profiles/smollm2-135m-instruct.json"
HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
INGESTED = re.compile(r"([\d,]+) tokens, ([\d,]+) bytes, in ([\d.]+) s")


class EngineError(RuntimeError):
    """A command of `ilre` failed; the message is its own."""


@dataclasses.dataclass
class Ingest:
    """What one `ilre ingest` did."""

    tokens: int
    num_bytes: int
    seconds: float  # that the command says: the model loaded, the last commit durable
    wall_seconds: float  # of the whole command
    cpu_seconds: float  # of the whole command, all threads, user and system
    peak_rss_bytes: int = 0  # VmHWM, seen by polling


class Engine:
    """The program, its model and its profile."""

    def __init__(self, binary: str | None = None, model: str | None = None, profile: str | None = None) -> None:
        self.binary = binary or str(ROOT / "build/release/bin/ilre")
        if not os.access(self.binary, os.X_OK):
            raise EngineError(f"no program {self.binary}: build it with scripts/build, or give --ilre")
        self.model = model or str(DEFAULT_MODEL)
        self.profile = profile or str(DEFAULT_PROFILE)
        self._common = (["--model", model] if model else []) + (["--profile", profile] if profile else [])

    def with_profile(self, profile: str) -> "Engine":
        return Engine(self.binary, self.model, profile)

    def with_changes(self, folder: pathlib.Path, name: str, change: Callable[[dict[str, Any]], None]) -> "Engine":
        """With a copy of its profile, made in the folder, that `change` was applied to."""
        source = pathlib.Path(self.profile)
        content = json.loads(source.read_text(encoding="utf-8"))
        change(content)
        copy = folder / f"{name}.json"
        copy.write_text(json.dumps(content), encoding="utf-8")
        weights = source.with_suffix(".safetensors")
        if weights.exists():
            copy.with_suffix(".safetensors").write_bytes(weights.read_bytes())
        return self.with_profile(str(copy))

    def command(self, data_dir: pathlib.Path, *arguments: str) -> list[str]:
        return [self.binary, "--data-dir", str(data_dir), *self._common, *arguments]


class Store:
    """A data directory of its own, removed at the end: with Store(engine, scratch) as store: ..."""

    def __init__(self, engine: Engine, scratch: str | None = None) -> None:
        self.engine = engine
        self._folder = tempfile.TemporaryDirectory(prefix="ilre-bench-", dir=scratch)
        self.folder = pathlib.Path(self._folder.name)
        self.data_dir = self.folder / "data"

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._folder.cleanup()

    def run(self, *arguments: str) -> str:
        """Standard output of a command that succeeds."""
        return self.run_measured(*arguments)[0]

    def run_measured(self, *arguments: str, engine: Engine | None = None) -> tuple[str, int]:
        """-> (standard output of a command that succeeds, its peak memory in bytes). engine: in place of the store's"""
        process = subprocess.Popen(
            (engine or self.engine).command(self.data_dir, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        peak = PeakMemory(process.pid)
        output, errors = process.communicate()
        if process.returncode != 0:
            raise EngineError(f"ilre {' '.join(arguments[:2])}: {errors.decode(errors='replace').strip()}")
        return output.decode(), peak.result()

    def write_text(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / f"{name}.txt"
        path.write_bytes(text.encode())
        return path

    def start_ingest(self, name: str, *options: str, source: str = "-", **popen: Any) -> subprocess.Popen[bytes]:
        command = self.engine.command(self.data_dir, "ingest", name, source, *options)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen)

    def ingest(self, name: str, text: str, *options: str, measure_memory: bool = False) -> Ingest:
        """Ingests a text from a file on disk."""
        path = self.write_text(name, text)
        start = time.monotonic()
        process = self.start_ingest(name, *options, source=str(path), stdin=subprocess.DEVNULL)
        peak = PeakMemory(process.pid) if measure_memory else None
        done = finish_ingest(process, start)
        if peak:
            done.peak_rss_bytes = peak.result()
        path.unlink()
        return done

    def bytes_per_token(self, text: str) -> float:
        """Of a sample."""
        return len(text.encode()) / self.ingest("sample", text).tokens

    def ingest_pieces(self, name: str, feed: Callable[[BinaryIO], None], pipe_mode: int = 0) -> Ingest:
        """Ingests standard input, a pipe that `feed` writes to. pipe_mode: flags of pipe2(2)."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC | pipe_mode)
        start = time.monotonic()
        process = self.start_ingest(name, stdin=read_end)
        os.close(read_end)
        try:
            with os.fdopen(write_end, "wb", buffering=0) as pipe:
                feed(pipe)
        except BrokenPipeError:
            pass  # its message says why it stopped reading
        return finish_ingest(process, start)

    def ask_batch(self, questions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """One process for all; answers in order."""
        return self.ask_batch_measured(questions)[0]

    def ask_batch_measured(
        self, questions: Iterable[dict[str, Any]], engine: Engine | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """-> (answers in order, peak memory of the process in bytes)"""
        path = self.folder / "questions.jsonl"
        path.write_text("".join(json.dumps(question) + "\n" for question in questions), encoding="utf-8")
        output, peak_bytes = self.run_measured("ask", "--batch", str(path), engine=engine)
        return [json.loads(line) for line in output.splitlines()], peak_bytes

    def show(self, name: str) -> dict[str, Any] | None:
        """The document's row, or None if there is none (or no store yet)."""
        try:
            rows = [json.loads(line) for line in self.run("documents", "list", "--json").splitlines()]
        except EngineError as error:
            if "there is no store in" in str(error):
                return None
            raise
        return next((row for row in rows if row["name"] == f"default/{name}"), None)

    def checksums(self, name: str) -> str:
        """A line for each stored block, the same for all ingests of the same text."""
        return self.run("inspect", name, "--checksums")

    def segments(self, name: str) -> list[Segment]:
        return [Segment(**json.loads(line)) for line in self.run("inspect", name, "--segments").splitlines()]

    def statistics(self) -> dict[str, Any]:
        return json.loads(self.run("inspect", "--json"))

    def folder_bytes(self) -> int:
        """Of all files, logs that are not in tables yet among them."""
        return sum(file.stat().st_size for file in self.data_dir.rglob("*") if file.is_file())


def finish_ingest(process: subprocess.Popen[bytes], start: float) -> Ingest:
    """Waits for an ingest that shall succeed. start: of the command, by time.monotonic()."""
    before = _children_cpu_seconds()
    output, errors = process.communicate()
    wall_seconds = time.monotonic() - start
    cpu_seconds = _children_cpu_seconds() - before
    if process.returncode != 0:
        raise EngineError(f"ilre ingest: {errors.decode(errors='replace').strip().splitlines()[-1:]}")
    match = INGESTED.search(output.decode())
    if match is None:
        raise EngineError(f"ilre ingest printed {output!r}")
    tokens, num_bytes = (int(match[i].replace(",", "")) for i in (1, 2))
    return Ingest(tokens, num_bytes, float(match[3]), wall_seconds, cpu_seconds)


def _children_cpu_seconds() -> float:
    """Of all child processes that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def own_peak_bytes() -> int:
    """The greatest resident set of this process."""
    high_water = HIGH_WATER.search(pathlib.Path("/proc/self/status").read_text(encoding="utf-8"))
    assert high_water is not None
    return int(high_water[1]) * 1024


class PeakMemory:
    """The greatest resident set of a running process, polled until it is gone."""

    def __init__(self, pid: int, interval_seconds: float = 0.02) -> None:
        self._status = pathlib.Path(f"/proc/{pid}/status")
        self._interval_seconds = interval_seconds
        self._peak_bytes = 0
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def result(self) -> int:
        """Bytes; call it when the process has been waited for."""
        self._thread.join()
        return self._peak_bytes

    def _poll(self) -> None:
        while True:
            try:
                high_water = HIGH_WATER.search(self._status.read_text(encoding="utf-8"))
            except OSError:
                return
            if high_water is None:  # a zombie has no memory
                return
            self._peak_bytes = max(self._peak_bytes, int(high_water[1]) * 1024)
            time.sleep(self._interval_seconds)
