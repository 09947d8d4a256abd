"""One document on its way to the server, without its transport: what to send next, and what an answer means.

The rule: what the server has committed is not sent again, by this call or by a later one for the same document. The one
exception is a comparison, where the server has to see the bytes: a document that was READY before, or `verify`.
"""

from __future__ import annotations

import datetime
from typing import Any

from . import errors
from ._source import Source
from .types import Document, document_from
from .v1 import encoder_pb2, resources_pb2

MAX_CHUNK_BYTES = 1 << 20
WINDOW_BYTES = 16 << 20  # sent and not committed; more is not read from the source

_STATUS_SECONDS = 30.0  # for the question how far the server is, where the ingest itself may take any time


def status_timeout(remaining: float | None) -> float:
    """Seconds for one GetIngestStatus of an ingest that has `remaining` (None: no limit)."""
    return _STATUS_SECONDS if remaining is None else min(remaining, _STATUS_SECONDS)


def raise_unless_missing(error: errors.IlreError, remaining: float | None) -> None:
    """What a failed GetIngestStatus means: returns if there is no such document."""
    if isinstance(error, errors.NotFoundError):
        return
    if isinstance(error, errors.DeadlineExceededError) and (remaining is None or remaining > _STATUS_SECONDS):
        raise errors.UnavailableError(f"no answer within {_STATUS_SECONDS:g} s", request_id=error.request_id)
    raise error


class Upload:
    """verify: None compares only with a READY document, True also with an unfinished one, False with none.
    Not thread-safe."""

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        replace: bool,
        append: bool,
        expire_time: datetime.datetime | None,
        verify: bool | None,
        chunk_bytes: int,
    ) -> None:
        if replace and append:
            raise ValueError("replace or append, not both")
        if not 1 <= chunk_bytes <= MAX_CHUNK_BYTES:
            raise ValueError(f"chunk_bytes is 1 to {MAX_CHUNK_BYTES}")
        self._name = name
        self._source = source
        self._chunk_bytes = chunk_bytes
        self._options = encoder_pb2.IngestOptions(replace=replace, append=append)
        if expire_time is not None:
            if expire_time.tzinfo is None:
                raise ValueError("expire_time needs a time zone")
            self._options.expire_time.FromDatetime(expire_time)
        self._verify = verify
        self._started = False
        self._was_ready = False  # before this call touched it
        self._found: Any = None  # create time of what was there before
        self._base = 0  # where in the document the source begins
        self._committed = 0  # as far as is known; offsets of the document
        self._next = 0  # first byte not sent by this try
        self._finish_sent = False
        self._first_message = True

    @property
    def total_bytes(self) -> int | None:
        return None if self._source.size is None else self._base + self._source.size

    def start_try(self, status: encoder_pb2.IngestProgress | None) -> Document | None:
        """Before each try, with what GetIngestStatus said (None: no such document). -> The document if it is done."""
        if not self._started:
            self._start(status)
        self._committed = status.committed_bytes if status else 0
        ready = status is not None and status.document.state == resources_pb2.Document.READY
        replacing = status is not None and self._options.replace and status.document.create_time == self._found
        if status is None or replacing:
            offset = 0
        elif not ready:
            offset = 0 if self._verify and not self._started else self._committed
        elif self._is_finished(self._committed):
            return document_from(status.document)
        else:
            compare = self._was_ready and self._verify is not False and not self._options.append
            offset = 0 if compare else self._committed
        self._check_length(offset)
        self._started = True
        self._next = offset
        self._source.release(max(0, offset - self._base))
        self._finish_sent = False
        self._first_message = True
        return None

    def _start(self, status: encoder_pb2.IngestProgress | None) -> None:
        if status is None:
            return
        self._found = status.document.create_time
        self._was_ready = status.document.state == resources_pb2.Document.READY
        if self._options.append:
            if not self._was_ready:
                raise errors.FailedPreconditionError(
                    "the document is not finished: ingest all of it, the old text and the new, without append",
                    reason="DOCUMENT_NOT_READY",
                    resource=self._name,
                )
            self._base = status.committed_bytes

    def _is_finished(self, committed: int) -> bool:
        """Of a READY document: whether it is what this call made of it, so that nothing is to be sent."""
        if self._was_ready and not self._options.append:
            return self._verify is False and committed == self.total_bytes
        return self._finish_sent and committed == self._base + self._source.end()

    def _check_length(self, offset: int) -> None:
        if self._source.size is not None and offset - self._base > self._source.size:
            self._refuse_shorter(offset)

    def _refuse_shorter(self, offset: int) -> None:
        raise errors.AlreadyExistsError(
            f"the document has other content: {offset} bytes are stored, and the source ends before them",
            reason="CONTENT_DIFFERS",
            resource=self._name,
        )

    @property
    def must_wait(self) -> bool:
        """Too much is under way: read answers before sending more."""
        return self._next - self._committed >= WINDOW_BYTES

    def next_read(self) -> tuple[int, int]:
        """Offset and count of what is to be read of the source for the next message."""
        return self._next - self._base, self._chunk_bytes

    def message(self, data: bytes) -> encoder_pb2.IngestDocumentRequest:
        """The next message, for what the source gave; the last one if it gave nothing."""
        if not data and self._base + self._source.end() < self._next:
            self._refuse_shorter(self._next)
        message = encoder_pb2.IngestDocumentRequest(write_offset=self._next, data=data, finish_write=not data)
        if self._first_message:
            message.name = self._name
            message.options.CopyFrom(self._options)
            self._first_message = False
        self._next += len(data)
        self._finish_sent = not data
        message.flush = bool(data) and self.must_wait
        return message

    def acknowledge(self, progress: encoder_pb2.IngestProgress) -> bool:
        """An answer came. -> Whether more is committed than before."""
        committed = progress.committed_bytes
        advanced = committed > self._committed
        self._committed = max(self._committed, committed)
        self._source.release(max(0, min(self._committed, self._next) - self._base))
        return advanced
