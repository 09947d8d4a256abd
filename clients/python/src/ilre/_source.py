"""Where a document's bytes come from: memory, a file, or a stream that can be read once."""

from __future__ import annotations

import io
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Protocol

from . import errors

Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Iterable[bytes]


class Source(Protocol):
    """Bytes by offset. What was released is not asked for again. Thread-safe: a try that failed may still be reading
    when the next one begins."""

    size: int | None  # None: not known

    def read_at(self, offset: int, count: int) -> bytes:
        """1 to `count` bytes; none at the end."""
        ...

    def release(self, offset: int) -> None:
        """Everything before `offset` is safe elsewhere."""
        ...

    def end(self) -> int:
        """The size, after read_at said that this is the end."""
        ...

    def close(self) -> None: ...


class MemorySource:
    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        self.size: int | None = len(self._data)

    def read_at(self, offset: int, count: int) -> bytes:
        return bytes(self._data[offset : offset + count])

    def end(self) -> int:
        return len(self._data)

    def release(self, offset: int) -> None:
        pass

    def close(self) -> None:
        self._data.release()


class FileSource:
    """A file that can seek; offset 0 is where it stood."""

    def __init__(self, file: BinaryIO, close_it: bool) -> None:
        self._file = file
        self._close_it = close_it
        self._lock = threading.Lock()
        self._start = file.tell()
        self.size: int | None = file.seek(0, io.SEEK_END) - self._start
        file.seek(self._start)

    def read_at(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(self._start + offset)
            return self._file.read(count)

    def end(self) -> int:
        with self._lock:
            return self._file.seek(0, io.SEEK_END) - self._start

    def release(self, offset: int) -> None:
        pass

    def close(self) -> None:
        if self._close_it:
            self._file.close()


class _Window:
    """Bytes of a stream from the last release on, so that they can be sent again."""

    def __init__(self) -> None:
        self.begin = 0
        self.buffer = bytearray()
        self._released = 0

    @property
    def end(self) -> int:
        return self.begin + len(self.buffer)

    def get(self, offset: int, count: int) -> bytes:
        if offset < self.begin:
            raise errors.DataLossError(
                f"byte {offset} is wanted again, which was committed: the source cannot be read twice"
            )
        return bytes(self.buffer[offset - self.begin : offset - self.begin + count])

    def take(self, piece: bytes) -> None:
        self.buffer += piece
        self.release(self._released)

    def release(self, offset: int) -> None:
        self._released = max(self._released, offset)
        drop = min(self._released, self.end) - self.begin
        if drop > 0:
            del self.buffer[:drop]
            self.begin += drop


class StreamSource:
    """Pieces of bytes, each read once; kept until they are released."""

    size: int | None = None

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._reading = threading.Lock()  # held while a piece is waited for
        self._lock = threading.Lock()  # of the window
        self._window = _Window()

    def read_at(self, offset: int, count: int) -> bytes:
        with self._reading:
            while self._window.end <= offset:
                piece = next(self._pieces, None)
                if piece is None:
                    return b""
                with self._lock:
                    self._window.take(piece)
            with self._lock:
                return self._window.get(offset, count)

    def end(self) -> int:
        return self._window.end

    def release(self, offset: int) -> None:
        with self._lock:
            self._window.release(offset)

    def close(self) -> None:
        pass


def open_source(source: Any) -> Source:
    """Of a path, bytes, a binary file, or an iterable of bytes."""
    if isinstance(source, (str, os.PathLike)):
        return FileSource(open(pathlib.Path(source), "rb"), close_it=True)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return MemorySource(source)
    if hasattr(source, "read"):
        if isinstance(source, io.TextIOBase):
            raise TypeError("open the file in binary mode ('rb'): offsets are bytes")
        if source.seekable():
            return FileSource(source, close_it=False)
        read = getattr(source, "read1", source.read)
        return StreamSource(iter(lambda: read(1 << 16), b""))
    if isinstance(source, Iterable):
        return StreamSource(iter(source))
    raise TypeError(f"a document is a path, bytes, a binary file or an iterable of bytes, not {type(source).__name__}")
