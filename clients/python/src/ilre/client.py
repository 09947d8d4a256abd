"""The client for programs with threads. `ilre.aio` has the same for asyncio."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc

from . import _requests, errors
from ._channel import Headers, Tls, channel_options
from ._names import document_name
from ._retry import NO_RETRIES, Attempts, RetryPolicy
from ._source import Readable, Source, open_source
from ._upload import MAX_CHUNK_BYTES, Upload, raise_unless_missing, status_timeout
from .types import (
    Answer,
    AnswerEvent,
    Document,
    IngestProgress,
    Retrieval,
    Sampling,
    ScoredPart,
    Text,
    TextPiece,
    answer_from,
    document_from,
    event_from,
    progress_from,
    retrieval_from,
)
from .v1 import encoder_pb2, encoder_pb2_grpc, generator_pb2_grpc, retriever_pb2, retriever_pb2_grpc

T = TypeVar("T")


class AnswerStream(Iterator[AnswerEvent]):
    """The events of an answer as they come: Recall, any number of Text, Finish. Leaving the `with` early, or close(),
    stops the server's work. To be used by one thread at a time; close() may come from any."""

    def __init__(self, call: Callable[[float | None], Any], attempts: Attempts, request_id: str) -> None:
        self._start = call
        self._attempts = attempts
        self.request_id = request_id
        self._call: Any = call(attempts.remaining())
        self._events: list[AnswerEvent] = []

    def __next__(self) -> AnswerEvent:
        while True:
            try:
                event = event_from(next(self._call))
            except grpc.RpcError as rpc_error:
                error = errors.from_rpc_error(rpc_error, self.request_id)
                if self._events:  # the caller has seen a part of it: starting anew would tell it twice
                    raise error from None
                time.sleep(self._attempts.delay_after(error))
                self._call = self._start(self._attempts.remaining())
                continue
            if event is not None:
                self._events.append(event)
                return event

    def texts(self) -> Iterator[str]:
        """Only the pieces of text."""
        return (event.text for event in self if isinstance(event, Text))

    def result(self) -> Answer:
        """The whole answer; reads what is left of it."""
        for _ in self:
            pass
        return answer_from(self._events)

    def close(self) -> None:
        self._call.cancel()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """The three services at `address`, or each at its own. Thread-safe. Methods raise subclasses of IlreError.

    token: of the tenant; a function is asked before each call (a token that is renewed). Give it only with `tls`.
    timeout: seconds that a call may take with all its tries, unless the call says otherwise; an ingest has no limit.
    metadata: goes along with every call, for example ("traceparent", ...).
    Every method takes `timeout` (seconds) and `request_id` (1-64 of [A-Za-z0-9._-]; default: a random one).
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        encoder: str | None = None,
        retriever: str | None = None,
        generator: str | None = None,
        token: str | Callable[[], str] | None = None,
        tls: Tls | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = 300.0,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._headers = Headers(token, metadata)
        self._retry = retry or RetryPolicy()
        self._timeout = timeout
        self._channels: dict[str, grpc.Channel] = {}
        self._encoder = encoder_pb2_grpc.EncoderStub(self._channel(encoder or address, tls))
        self._retriever = retriever_pb2_grpc.RetrieverStub(self._channel(retriever or address, tls))
        self._generator = generator_pb2_grpc.GeneratorStub(self._channel(generator or address, tls))

    def _channel(self, address: str, tls: Tls | None) -> grpc.Channel:
        if address not in self._channels:
            options = channel_options(tls)
            self._channels[address] = (
                grpc.secure_channel(address, tls.credentials(), options)
                if tls
                else grpc.insecure_channel(address, options)
            )
        return self._channels[address]

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Documents.

    def ingest(
        self,
        name: str,
        source: Readable,
        *,
        replace: bool = False,
        append: bool = False,
        expire_time: datetime.datetime | None = None,
        verify: bool | None = None,
        on_progress: Callable[[IngestProgress], object] | None = None,
        chunk_bytes: int = MAX_CHUNK_BYTES,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Document:
        """Reads a document: a path, bytes, a binary file or an iterable of bytes. Returns when it is READY.

        Goes on where an earlier ingest of that name was interrupted, and by itself after an interruption that is worth
        another try; what was committed is not sent again. A document that is READY already is compared with the source.
        replace: another content is replaced. append: the source is added to a READY document.
        verify: True also compares what an interrupted ingest left; False compares nothing (sizes only).
        on_progress: called when something was committed.
        """
        return self.ingest_until(
            Stop(),
            name,
            source,
            replace=replace,
            append=append,
            expire_time=expire_time,
            verify=verify,
            on_progress=on_progress,
            chunk_bytes=chunk_bytes,
            timeout=timeout,
            request_id=request_id,
        )

    def ingest_until(
        self,
        stop: Stop,
        name: str,
        source: Readable,
        *,
        replace: bool = False,
        append: bool = False,
        expire_time: datetime.datetime | None = None,
        verify: bool | None = None,
        on_progress: Callable[[IngestProgress], object] | None = None,
        chunk_bytes: int = MAX_CHUNK_BYTES,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Document:
        """As ingest; another thread may give it up by `stop`, and CancelledError is raised."""
        opened = open_source(source)
        try:
            upload = Upload(
                document_name(name),
                opened,
                replace=replace,
                append=append,
                expire_time=expire_time,
                verify=verify,
                chunk_bytes=chunk_bytes,
            )
            return self._ingest(stop, document_name(name), upload, opened, on_progress, timeout, request_id)
        finally:
            opened.close()

    def _ingest(
        self,
        stop: Stop,
        name: str,
        upload: Upload,
        source: Source,
        on_progress: Callable[[IngestProgress], object] | None,
        timeout: float | None,
        request_id: str | None,
    ) -> Document:
        attempts = Attempts(self._retry, timeout)
        metadata, request_id = self._headers.of_call(request_id)
        while True:
            try:
                done = upload.start_try(self._status(name, attempts.remaining(), request_id))
                if done is not None:
                    return done
                sender = _Sender(upload, source)
                call = self._encoder.IngestDocument(sender.messages(), timeout=attempts.remaining(), metadata=metadata)
                stop.watch(call)
                document = self._follow(call, sender, attempts, on_progress, request_id)
                if document is not None:
                    return document
                raise errors.UnavailableError("the server ended the call before the document was finished")
            except errors.IlreError as error:
                if stop.wait(attempts.delay_after(error)):
                    raise errors.CancelledError("given up") from error
                metadata, request_id = self._headers.of_call(request_id)

    def _status(self, name: str, timeout: float | None, request_id: str) -> encoder_pb2.IngestProgress | None:
        metadata, _ = self._headers.of_call(request_id)
        request = encoder_pb2.GetIngestStatusRequest(name=name)
        try:
            return self._encoder.GetIngestStatus(request, timeout=status_timeout(timeout), metadata=metadata)
        except grpc.RpcError as rpc_error:
            raise_unless_missing(errors.from_rpc_error(rpc_error, request_id), timeout)
            return None

    def _follow(
        self,
        call: Any,
        sender: _Sender,
        attempts: Attempts,
        on_progress: Callable[[IngestProgress], object] | None,
        request_id: str,
    ) -> Document | None:
        """Reads the answers of one try. -> The document, if it was finished."""
        document = None
        try:
            for message in call:
                if sender.acknowledge(message):
                    attempts.progressed()
                progress = progress_from(message, sender.total_bytes)
                document = progress.document or document
                if on_progress is not None:
                    on_progress(progress)
        except grpc.RpcError as rpc_error:
            sender.check()
            raise errors.from_rpc_error(rpc_error, request_id) from None
        finally:
            sender.stop()
            call.cancel()
        sender.check()
        return document

    def get_ingest_status(
        self, name: str, *, timeout: float | None = None, request_id: str | None = None
    ) -> IngestProgress:
        request = encoder_pb2.GetIngestStatusRequest(name=document_name(name))
        return progress_from(self._call(self._encoder.GetIngestStatus, request, timeout, request_id))

    def create_document(
        self,
        name: str,
        *,
        expire_time: datetime.datetime | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Document:
        """An empty document; ingest() makes its own. Not tried again: a lost answer would look like a conflict."""
        request = _requests.create(name, expire_time)
        return document_from(self._call(self._encoder.CreateDocument, request, timeout, request_id, NO_RETRIES))

    def get_document(self, name: str, *, timeout: float | None = None, request_id: str | None = None) -> Document:
        request = encoder_pb2.GetDocumentRequest(name=document_name(name))
        return document_from(self._call(self._encoder.GetDocument, request, timeout, request_id))

    def list_documents(
        self,
        collection: str = "-",
        *,
        page_size: int = 0,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Iterator[Document]:
        """All documents of a collection (`-`: of all collections), by name; pages are fetched as they are needed."""
        token = ""
        while True:
            page, token = self.list_page(collection, page_size, token, timeout=timeout, request_id=request_id)
            yield from page
            if not token:
                return

    def list_page(
        self,
        collection: str = "-",
        page_size: int = 0,
        page_token: str = "",
        *,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> tuple[list[Document], str]:
        """-> (documents, token of the next page; empty on the last)"""
        request = _requests.list_page(collection, page_size, page_token)
        answer = self._call(self._encoder.ListDocuments, request, timeout, request_id)
        return [document_from(document) for document in answer.documents], answer.next_page_token

    def set_expiry(
        self,
        name: str,
        expire_time: datetime.datetime | None,
        *,
        etag: str = "",
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Document:
        """When the document is deleted by itself; None: never. With an etag, only if it is still that."""
        request = _requests.update(name, expire_time, etag)
        return document_from(self._call(self._encoder.UpdateDocument, request, timeout, request_id))

    def delete_document(
        self,
        name: str,
        *,
        etag: str = "",
        allow_missing: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> None:
        """A second try that finds nothing was preceded by one that deleted it, and is no error."""
        request = encoder_pb2.DeleteDocumentRequest(name=document_name(name), etag=etag, allow_missing=allow_missing)
        attempts = Attempts(self._retry, self._timeout if timeout is None else timeout)
        try:
            self._try(self._encoder.DeleteDocument, request, attempts, request_id)
        except errors.NotFoundError:
            if attempts.is_first:
                raise

    # Questions.

    def ask(
        self,
        question: str,
        documents: str | Iterable[str] = (),
        *,
        budget: int = 0,
        instruction: str | None = None,
        answer_prefix: str = "",
        max_tokens: int = 0,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
        single_look: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> AnswerStream:
        """Answers from documents (`c/-`: all of collection c), streamed. A failure before the first event is tried
        again; later ones are raised. single_look: what the question leads to is not looked for."""
        request = _requests.generate(
            question, documents, budget, instruction, answer_prefix, max_tokens, stop, sampling, single_look
        )
        metadata, request_id = self._headers.of_call(request_id)
        attempts = Attempts(self._retry, self._timeout if timeout is None else timeout)
        return AnswerStream(
            lambda remaining: self._generator.Generate(request, timeout=remaining, metadata=metadata),
            attempts,
            request_id,
        )

    def retrieve(
        self,
        question: str,
        documents: str | Iterable[str],
        *,
        budget: int = 0,
        include_token_ids: bool = False,
        single_look: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Retrieval:
        """The spans of documents that a question attends to."""
        request = _requests.retrieve(question, documents, budget, include_token_ids, single_look)
        return retrieval_from(self._call(self._retriever.Retrieve, request, timeout, request_id))

    def score_document(
        self,
        name: str,
        question: str,
        *,
        part_count: int = 0,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> list[ScoredPart]:
        """How strongly each part of a document answers a question."""
        request = retriever_pb2.ScoreDocumentRequest(name=document_name(name), question=question, part_count=part_count)
        answer = self._call(self._retriever.ScoreDocument, request, timeout, request_id)
        return [ScoredPart(part.byte_begin, part.byte_end, part.score) for part in answer.parts]

    def read_text(
        self,
        name: str,
        byte_begin: int = 0,
        byte_count: int = 0,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> TextPiece:
        """A piece of a document's text, whole characters."""
        request = retriever_pb2.ReadTextRequest(name=document_name(name), byte_begin=byte_begin, byte_count=byte_count)
        answer = self._call(self._retriever.ReadText, request, timeout, request_id)
        return TextPiece(answer.text, answer.byte_begin, answer.document_bytes)

    def _call(
        self,
        method: Callable[..., T],
        request: Any,
        timeout: float | None,
        request_id: str | None,
        policy: RetryPolicy | None = None,
    ) -> Any:
        attempts = Attempts(policy or self._retry, self._timeout if timeout is None else timeout)
        return self._try(method, request, attempts, request_id)

    def _try(self, method: Callable[..., T], request: Any, attempts: Attempts, request_id: str | None) -> Any:
        while True:
            metadata, request_id = self._headers.of_call(request_id)
            try:
                return method(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as rpc_error:
                error = errors.from_rpc_error(rpc_error, request_id)
            time.sleep(attempts.delay_after(error))


class Stop:
    """Gives up a running ingest from another thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._call: Any = None

    def set(self) -> None:
        with self._lock:
            self._event.set()
            if self._call is not None:
                self._call.cancel()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def watch(self, call: Any) -> None:
        """`call` is what set() cancels from now on."""
        with self._lock:
            self._call = call
            if self._event.is_set():
                call.cancel()


class _Sender:
    """The messages of one try, read by a thread of grpc's while ours reads the answers."""

    def __init__(self, upload: Upload, source: Source) -> None:
        self._upload = upload
        self._source = source
        self._changed = threading.Condition()
        self._stopped = False
        self._failure: BaseException | None = None
        self.total_bytes = upload.total_bytes

    def messages(self) -> Iterator[encoder_pb2.IngestDocumentRequest]:
        # A failure of the source ends the messages: the server commits what it has, and check() tells the caller.
        finished = False
        while not finished:
            with self._changed:
                while self._upload.must_wait and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                wanted = self._upload.next_read()
            try:
                data = self._source.read_at(*wanted)
                with self._changed:
                    if self._stopped:
                        return
                    message = self._upload.message(data)
            except BaseException as failure:
                self._failure = failure
                return
            finished = message.finish_write
            yield message

    def acknowledge(self, progress: encoder_pb2.IngestProgress) -> bool:
        with self._changed:
            self._changed.notify()
            return self._upload.acknowledge(progress)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def check(self) -> None:
        """Raises what reading the source raised."""
        if self._failure is not None:
            raise self._failure
