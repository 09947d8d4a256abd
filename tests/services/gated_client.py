#!/usr/bin/env python3
"""Ingests a file through the Python client, for resume_test: reads no further than it is told, says what is
acknowledged, and fails if it is asked to send again what was acknowledged.

Usage: gated_client.py SERVER NAME FILE ACKNOWLEDGED      (bytes known to be committed)
Standard input: a line with the number of bytes that may be read, again and again. Standard output: `acknowledged N`.
"""

import io
import sys
import threading

import built_client  # noqa: F401
import ilre


class GatedFile(io.RawIOBase):
    def __init__(self, path: str, acknowledged: int) -> None:
        self._file = open(path, "rb")
        self._gate = 0
        self._opened = threading.Condition()
        self.acknowledged = acknowledged
        self.sent_again: list[tuple[int, int]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            with self._opened:
                self._gate = int(line)
                self._opened.notify_all()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, count: int = -1) -> bytes:
        position = self._file.tell()
        if position < self.acknowledged:
            self.sent_again.append((position, self.acknowledged))
        with self._opened:
            while self._gate <= position:
                self._opened.wait()
            return self._file.read(min(count, self._gate - position))


def main() -> None:
    server, name, path, acknowledged = sys.argv[1:]
    source = GatedFile(path, int(acknowledged))

    def note(progress: ilre.IngestProgress) -> None:
        assert progress.committed_bytes >= source.acknowledged, f"{progress} after {source.acknowledged}"
        source.acknowledged = progress.committed_bytes
        print(f"acknowledged {progress.committed_bytes}", flush=True)

    policy = ilre.RetryPolicy(max_attempts=1000, first_delay=0.02, max_delay=0.2)
    with ilre.Client(server, retry=policy) as client:
        document = client.ingest(name, source, on_progress=note, chunk_bytes=3000)
    assert document.state == ilre.DocumentState.READY, document
    assert not source.sent_again, f"sent again although acknowledged: {source.sent_again}"


if __name__ == "__main__":
    main()
