"""The stored bytes depend on the text alone, not on the pieces in which it came."""

import fcntl
import os
import random
from typing import BinaryIO, Callable

from harness import prose
from harness.ilre import Engine, Store
from harness.report import Report, progress

TEXT_BYTES = 1_300_000  # more than the largest piece
PIPE_PACKET_BYTES = 4096  # the most that a pipe keeps apart from what is written next


def measure(report: Report, engine: Engine, scratch: str | None, quick: bool) -> None:
    text = prose.passage(24_000 if quick else TEXT_BYTES, seed=8, foreign=True).encode()
    with Store(engine, scratch) as store:
        store.ingest("whole", text.decode())
        whole = store.checksums("whole")
        different = []
        ways = {"1": 1, "1024": 1024, "1048576": 1 << 20, "random": None}
        for label, size in ways.items():
            # In packet mode a read gets what one write wrote, and no more.
            packets = size is None or size <= PIPE_PACKET_BYTES
            done = store.ingest_pieces(f"pieces-{label}", _feeder(text, size), os.O_DIRECT if packets else 0)
            if store.checksums(f"pieces-{label}") != whole:
                different.append(label)
            progress(f"pieces of {label} bytes: {done.tokens} tokens in {done.wall_seconds:.1f} s")
    details = {"different": different, "bytes": len(text), "blocks": len(whole.splitlines())}
    report.at_most("pieces.different", len(different), 0, n=len(ways), details=details)


def _feeder(text: bytes, size: int | None) -> Callable[[BinaryIO], None]:
    """Writes pieces of `size` bytes; of 1 to 4096 at random if it is None."""

    def feed(pipe: BinaryIO) -> None:
        rng = random.Random(9)
        if size is not None and size > PIPE_PACKET_BYTES:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, min(size, 1 << 20))
        at = 0
        while at < len(text):
            piece = text[at : at + (size or rng.randint(1, PIPE_PACKET_BYTES))]
            at += pipe.write(piece)

    return feed
