#!/usr/bin/env python3
"""A document on its way through the Python client, while client, encoder and retriever are killed at random moments: it
resumes, no acknowledged offset is lost, nothing acknowledged is sent again, and the finished document equals, block for
block, one that was read without a break.

Usage: resume_test.py FOLDER_OF_PROGRAMS [--kills N] [--tokens N] [--seed N] [--real]
  --real  the default model instead of a tiny one. At full size: --real --tokens 500000 --kills 50
"""

from __future__ import annotations

import argparse
import pathlib
import random
import subprocess
import sys
import threading
import time

import built_client  # noqa: F401
import ilre
from fault_proxy import FaultProxy
from servers import PATIENCE_S, Services, made_up_text, wait_for

CLIENT = pathlib.Path(__file__).with_name("gated_client.py")
QUESTION = "Which harbour has the better lamp?"
VICTIMS = ("client", "encoder", "retriever")
COMMIT_TOKENS = 64 * 256  # of the encoder


class ClientProcess:
    """gated_client.py"""

    def __init__(self, address: str, path: str, acknowledged: int, gate: int) -> None:
        self.acknowledged = acknowledged
        self._process = subprocess.Popen(
            [sys.executable, CLIENT, address, "d", path, str(acknowledged)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.open_gate(gate)

    def _read(self) -> None:
        for line in self._process.stdout:
            if line.startswith("acknowledged ") and line.endswith("\n"):
                self.acknowledged = int(line.split()[1])

    def open_gate(self, gate: int) -> None:
        if self._process.poll() is not None:
            raise AssertionError(f"the client ended: {self._process.stderr.read()}")
        self._process.stdin.write(f"{gate}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def wait(self, size: int) -> None:
        while self.acknowledged < size and self._process.poll() is None:
            before = self.acknowledged
            wait_for("something is acknowledged", lambda: self.acknowledged > before or self._process.poll() is not None)
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the client hangs") from None
        errors = self._process.stderr.read()
        self._end()
        assert status == 0, errors

    def _end(self) -> None:
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Kills:
    def __init__(self, services: Services, text: bytes, generator: random.Random) -> None:
        self._services = services
        self._generator = generator
        self._size = len(text)
        self._path = services.ilre.file("d.txt", text)
        self._encoder = services.start("encoder")
        self._proxy = FaultProxy(self._encoder.address)  # the encoder's lasting address
        self._retriever = services.start("retriever")
        self._documents = ilre.Client(self._proxy.address, retry=ilre.RetryPolicy(max_attempts=1000, max_delay=0.2))
        self._documents.ingest("whole", text)
        self._whole = self._recall("whole")
        assert self._whole
        # Bytes received and not acknowledged, at most: a commit on its way, what is computed behind it, what is not yet.
        self._lag = 3 * COMMIT_TOKENS * len(text) // self._documents.get_document("whole").token_count
        self._client = ClientProcess(self._proxy.address, self._path, 0, 0)
        self.counts = dict.fromkeys(VICTIMS, 0)
        self.tokens = 0  # of the finished document

    def close(self) -> None:
        self._client.kill()
        self._documents.close()
        self._proxy.close()

    def _recall(self, name: str) -> list:
        """Of the retriever, once it sees the document."""
        with ilre.Client(self._retriever.address) as client:

            def recall():
                try:
                    return client.retrieve(QUESTION, name).spans
                except (ilre.NotFoundError, ilre.FailedPreconditionError, ilre.UnavailableError, ilre.AbortedError):
                    return None

            spans = wait_for(f"the retriever sees {name}", recall)
        return [(s.token_begin, s.token_end, s.byte_begin, s.byte_end, s.score, s.text) for s in spans]

    def run(self, kills: int) -> None:
        victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
        self._generator.shuffle(victims)
        for number, victim in enumerate(victims):
            gate = self._size * (number + 1) // (kills + 1)
            self._client.open_gate(gate)
            self._wait_for_committed(gate - self._lag)  # kills all over the document
            self._wait_a_while(gate)
            getattr(self, f"_kill_{victim}")(gate)
            self.counts[victim] += 1
            self._check_unfinished()
        self._client.open_gate(self._size + 1)
        self._client.wait(self._size)
        self._check_finished()

    def _wait_for_committed(self, offset: int) -> None:
        """What the encoder says: a client that goes on where another was killed is told no more of what that one sent."""

        def committed() -> int:
            try:
                return self._documents.get_ingest_status("d").committed_bytes
            except ilre.NotFoundError:
                return 0

        while (before := committed()) < offset:
            wait_for("something is committed", lambda: committed() > before)

    def _wait_a_while(self, gate: int) -> None:
        """Until a random moment: at an acknowledgement, or any."""
        if self._generator.random() < 0.5:
            before, end = self._client.acknowledged, time.monotonic() + 0.5
            while self._client.acknowledged == before and time.monotonic() < end:
                time.sleep(0.001)
        else:
            time.sleep(self._generator.random() ** 2 * 0.5)

    def _kill_client(self, gate: int) -> None:
        self._client.kill()
        self._client = ClientProcess(self._proxy.address, self._path, self._client.acknowledged, gate)

    def _kill_encoder(self, gate: int) -> None:
        self._encoder.kill()
        self._encoder = self._services.start("encoder")
        self._proxy.backend = self._encoder.address

    def _kill_retriever(self, gate: int) -> None:
        self._retriever.kill()
        self._retriever = self._services.start("retriever")

    def _check_unfinished(self) -> None:
        acknowledged = self._client.acknowledged
        try:
            status = self._documents.get_ingest_status("d")
        except ilre.NotFoundError:
            assert acknowledged == 0, f"the document is gone; {acknowledged} bytes were acknowledged"
            return
        assert status.committed_bytes >= acknowledged, f"{status.committed_bytes} are left of {acknowledged} bytes"
        assert status.document.state == ilre.DocumentState.INGESTING, status
        assert self._recall("whole") == self._whole

    def _check_finished(self) -> None:
        document, whole = self._documents.get_document("d"), self._documents.get_document("whole")
        assert document.state == ilre.DocumentState.READY
        assert (document.committed_bytes, document.token_count) == (self._size, whole.token_count), (document, whole)
        self.tokens = document.token_count
        assert self._recall("d") == self._whole, "other spans than of the document that was read without a break"
        for server in (self._retriever, self._encoder):
            assert server.terminate() == 0, server.log()
        assert self._services.checksums("d") == self._services.checksums("whole"), "other blocks than without a break"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("programs")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    text = made_up_text(int(arguments.tokens * (3.33 if arguments.real else 1.09)), seed=arguments.seed).encode()
    services = Services(arguments.programs, arguments.real)
    try:
        kills = Kills(services, text, generator)
        try:
            kills.run(arguments.kills)
        finally:
            kills.close()
    except BaseException:
        print(services.logs(), file=sys.stderr)
        raise
    finally:
        services.close()
    said = ", ".join(f"{count} of the {victim}" for victim, count in kills.counts.items())
    size = f"{kills.tokens} tokens in {len(text)} bytes"
    print(f"{arguments.kills} kills ({said}), {size} (seed {arguments.seed}): nothing is lost")


if __name__ == "__main__":
    main()
