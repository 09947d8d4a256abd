"""Starts the services as processes over a tiny model, waits until they are ready, reads their metrics, stops them."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import TypeVar

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cli"))

from ilre_cli import MODEL, Ilre, made_up_text  # noqa: E402, F401

DEFAULT_MODEL = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_PROFILE = ROOT / "profiles/smollm2-135m-instruct.json"
PATIENCE_S = 120.0  # before something counts as never happening, on a machine that is busy otherwise
T = TypeVar("T")


class NeverHappened(AssertionError):
    pass


def wait_for(what: str, condition: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """-> the first true result of `condition`"""
    end = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > end:
            raise NeverHappened(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Server:
    """One process of a service. Ports are the system's choice; a process that is started anew has others."""

    def __init__(self, command: list[str], environment: dict[str, str], log: pathlib.Path) -> None:
        self.log_path = log
        self.address = self.http = ""
        self._log = open(log, "ab")
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log
        )
        self._printed: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._printed.append(line.decode(errors="replace"))

    def wait_until_ready(self) -> Server:
        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.log()}")
            for line in list(self._printed):
                if match := re.match(r"(listening|http) on (\S+)", line):
                    setattr(self, "address" if match[1] == "listening" else "http", match[2])
            return bool(self.address and self.http and self.get("/readyz") is not None)

        wait_for("the server is ready", ready)
        return self

    def get(self, path: str) -> str | None:
        """Over HTTP; None if it does not answer with 200."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=30) as response:
                return response.read().decode()
        except OSError:
            return None

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples with these labels; 0 if there is none."""
        total = 0.0
        for found, value in re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", self.get("/metrics") or "", re.MULTILINE):
            if all(f'{key}="{wanted}"' in found for key, wanted in labels.items()):
                total += float(value)
        return total

    def wait_until_idle(self) -> None:
        wait_for("the server is idle", lambda: self.get("/metrics") and self.metric("ilre_running_requests") == 0)

    def peak_memory(self) -> int:
        """Bytes: the greatest resident set so far."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def terminate(self) -> int:
        """SIGTERM. -> exit status"""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NeverHappened(f"the server ends: {self.log()}") from None
        self._ended()
        return status

    def _ended(self) -> None:
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self._log.close()


class Services:
    """A folder with a store, a tiny model's profile and any number of servers. close() ends and removes it all."""

    def __init__(self, programs: str | pathlib.Path, real_model: bool = False) -> None:
        """real_model: the default model and its shipped profile instead of the tiny ones."""
        self.programs = pathlib.Path(programs).resolve()
        self.ilre = Ilre(str(self.programs / "ilre"))
        self.folder = self.ilre.folder
        self.data_dir = self.ilre.data
        self.servers: list[Server] = []
        self._number = 0
        if real_model:
            self.ilre.environment |= {"ILRE_MODEL": str(DEFAULT_MODEL), "ILRE_PROFILE": str(DEFAULT_PROFILE)}
        environment = self.ilre.environment
        self.model_flags = ["--model", environment["ILRE_MODEL"], "--profile", environment["ILRE_PROFILE"]]

    def launch(self, kind: str, *flags: str) -> Server:
        """kind: serve, encoder, retriever or generator. Does not wait."""
        program = [str(self.programs / "ilre"), "serve"] if kind == "serve" else [str(self.programs / f"ilre-{kind}")]
        command = [*program, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *self.model_flags]
        if kind != "generator":
            command += ["--data-dir", str(self.data_dir)]
        self._number += 1
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ILRE_")}
        server = Server([*command, *flags], environment, self.folder / f"{kind}-{self._number}.log")
        self.servers.append(server)
        return server

    def start(self, kind: str, *flags: str) -> Server:
        return self.launch(kind, *flags).wait_until_ready()

    def checksums(self, name: str) -> list[str]:
        """A line for each stored block, the same for all ingests of a text; no writer may run."""
        return self.ilre.checksums(name)

    def close(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        return "".join(f"---- {s.log_path.stem}\n{s.log()}" for s in self.servers)
