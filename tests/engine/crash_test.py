#!/usr/bin/env python3
"""Kills an ingest again and again, at random moments, and checks what is promised: an offset that was acknowledged is
there after every restart, an unfinished document never shows as READY, and the finished one equals, block for block, one
that was read without a break.

Usage: crash_test.py PATH_OF_ILRE [--kills N] [--seed N] [--bytes N] [--real]
  --real  uses the program's default model and profile instead of the tiny ones
"""

import argparse
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from ilre_cli import Ilre, made_up_text  # noqa: E402

COMMIT_BLOCKS = "2"


class Crashes:
    def __init__(self, ilre: Ilre, text: str, generator: random.Random):
        self.ilre = ilre
        self.size = len(text.encode())
        self.path = ilre.file("d.txt", text)
        self.generator = generator
        self.acknowledged = 0  # bytes, as the program said
        self.ran = 0.0  # seconds of an unbroken ingest, measured first

    def measure(self) -> None:
        """Reads the whole text without a break, under another name."""
        start = time.monotonic()
        result = self.ilre.run("ingest", "whole", self.path, "--commit-blocks", COMMIT_BLOCKS, timeout=300)
        assert result.returncode == 0, result.stderr
        self.ran = time.monotonic() - start

    def kill_once(self, kills_left: int) -> bool:
        """Starts or goes on, and kills it. -> False if it was done before."""
        process = self.ilre.start("ingest", "d", self.path, "--commit-blocks", COMMIT_BLOCKS, "--acknowledge")
        with process.stdout, process.stderr:
            # Half of the kills hit a commit or what follows at once; the others any moment.
            share = self.generator.random() * 2 / kills_left
            if self.generator.random() < 0.5:
                until = self.acknowledged + share * (self.size - self.acknowledged)
                for line in process.stdout:
                    self.acknowledge(line)
                    if self.acknowledged > until:
                        break
            else:
                time.sleep(self.generator.random() * 0.2 + share * self.ran)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:  # what it said before it died
                self.acknowledge(line)
            errors = process.stderr.read().decode()
            status = process.wait()
        if status == -signal.SIGKILL:
            return True
        assert status == 0, f"exit status {status}: {errors}"
        return False

    def acknowledge(self, line: bytes) -> None:
        if line.startswith(b"acknowledged ") and line.endswith(b"\n"):
            offset = int(line.split()[1])
            assert offset > self.acknowledged, f"acknowledged {offset} after {self.acknowledged}"
            self.acknowledged = offset

    def check_unfinished(self) -> None:
        row = self.ilre.show("d")
        if not row:
            assert self.acknowledged == 0, f"the document is gone; {self.acknowledged} bytes were acknowledged"
            return
        assert row["bytes"] >= self.acknowledged, f"{row['bytes']} bytes are there; acknowledged {self.acknowledged}"
        assert (row["state"] == "READY") == (row["bytes"] == self.size and row["state"] != "INGESTING"), row
        assert row["state"] in ("INGESTING", "READY"), row
        self.acknowledged = row["bytes"]  # the program goes on from here, and says so with its next commit
        result = self.ilre.run("inspect", "d", "--verify")
        assert result.returncode == 0, result.stderr
        if row["state"] == "INGESTING":
            refused = self.ilre.run("ask", "d", "Which letter?", "--max-tokens", "0")
            assert refused.returncode == 1 and "INGESTING" in refused.stderr, refused

    def check_finished(self) -> None:
        result = self.ilre.run("ingest", "d", self.path, timeout=300)
        assert result.returncode == 0, result.stderr
        row, whole = self.ilre.show("d"), self.ilre.show("whole")
        for field in ("state", "bytes", "tokens", "blocks", "text_checksum", "model", "tokenizer", "profile"):
            assert row[field] == whole[field], (field, row, whole)
        assert self.ilre.checksums("d") == self.ilre.checksums("whole"), "other blocks than without a break"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ilre")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=60_000)
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    ilre = Ilre(arguments.ilre)
    if arguments.real:
        del ilre.environment["ILRE_MODEL"], ilre.environment["ILRE_PROFILE"]
    kills = documents = 0
    try:
        while kills < arguments.kills:
            crashes = Crashes(ilre, made_up_text(arguments.bytes, seed=generator.random()), generator)
            crashes.measure()
            documents += 1
            for left in range(min(20, arguments.kills - kills), 0, -1):
                if not crashes.kill_once(left):
                    break
                kills += 1
                crashes.check_unfinished()
            crashes.check_finished()
            for name in ("d", "whole"):
                assert ilre.run("documents", "delete", name).returncode == 0
    finally:
        ilre.close()
    print(f"{kills} kills over {documents} documents of {arguments.bytes} bytes (seed {arguments.seed}): nothing is lost")


if __name__ == "__main__":
    main()
