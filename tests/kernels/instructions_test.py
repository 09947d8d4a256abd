#!/usr/bin/env python3
"""Counts the instructions of kernels under valgrind, which runs their AVX2 paths, and compares them with those committed
in instructions.json: a kernel that needs over 5% more has become slower, whatever a clock on a busy machine says.

Usage: instructions_test.py PATH_OF_kernel_instructions [--update]

--update writes the counts of this build (Debian 12's compiler, the release preset). Exit status 77: no valgrind (skipped).
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

COMMITTED = pathlib.Path(__file__).with_name("instructions.json")
MOST = 1.05  # times the committed number


def count(program: str, kernel: str) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=IlreMeasured", program, kernel]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected, done.stderr
    return int(collected.group(1))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("no valgrind")
        return 77
    names = subprocess.run([arguments.program], capture_output=True, text=True, check=True).stdout.split()
    counts = {name: count(arguments.program, name) for name in names}
    if arguments.update:
        COMMITTED.write_text(json.dumps(counts, indent=2) + "\n")
        return 0
    committed = json.loads(COMMITTED.read_text())
    failed = sorted(counts) != sorted(committed)
    for name, instructions in counts.items():
        ratio = instructions / committed.get(name, instructions)
        failed |= ratio > MOST
        print(f"{name}: {instructions:,} instructions, {ratio:.4f} times the committed number{' (FAILED)' * (ratio > MOST)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
