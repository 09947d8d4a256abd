"""The client for asyncio: as `ilre.client`, with awaits. Cancelling a task stops the server's work too.

An ingest runs in a thread over a channel of its own, not on grpc.aio: there, a write that fails because the server has
refused the call hides the server's reason (https://github.com/grpc/grpc/issues/36066).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio

from . import _requests, errors
from ._channel import Headers, Tls, channel_options
from ._names import document_name
from ._retry import NO_RETRIES, Attempts, RetryPolicy
from ._source import Readable
from ._upload import MAX_CHUNK_BYTES
from .client import Client, Stop
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


class AsyncAnswerStream(AsyncIterator[AnswerEvent]):
    """The events of an answer as they come: Recall, any number of Text, Finish. Leaving the `async with` early, or
    close(), stops the server's work."""

    def __init__(self, call: Callable[[float | None], Any], attempts: Attempts, request_id: str) -> None:
        self._start = call
        self._attempts = attempts
        self.request_id = request_id
        self._call: Any = call(attempts.remaining())
        self._events: list[AnswerEvent] = []

    async def __anext__(self) -> AnswerEvent:
        while True:
            try:
                message = await self._call.read()
            except grpc.RpcError as rpc_error:
                error = errors.from_rpc_error(rpc_error, self.request_id)
                if self._events:  # the caller has seen a part of it: starting anew would tell it twice
                    raise error from None
                await asyncio.sleep(self._attempts.delay_after(error))
                self._call = self._start(self._attempts.remaining())
                continue
            if message is grpc.aio.EOF:
                raise StopAsyncIteration
            event = event_from(message)
            if event is not None:
                self._events.append(event)
                return event

    async def texts(self) -> AsyncIterator[str]:
        """Only the pieces of text."""
        async for event in self:
            if isinstance(event, Text):
                yield event.text

    async def result(self) -> Answer:
        """The whole answer; reads what is left of it."""
        async for _ in self:
            pass
        return answer_from(self._events)

    def close(self) -> None:
        self._call.cancel()

    async def __aenter__(self) -> AsyncAnswerStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """As Client. To be made and used within one event loop."""

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
        self._blocking = Client(address, encoder=encoder, token=token, tls=tls, retry=retry, metadata=metadata)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._encoder: Any = encoder_pb2_grpc.EncoderStub(self._channel(encoder or address, tls))
        self._retriever: Any = retriever_pb2_grpc.RetrieverStub(self._channel(retriever or address, tls))
        self._generator: Any = generator_pb2_grpc.GeneratorStub(self._channel(generator or address, tls))

    def _channel(self, address: str, tls: Tls | None) -> grpc.aio.Channel:
        if address not in self._channels:
            options = channel_options(tls)
            self._channels[address] = (
                grpc.aio.secure_channel(address, tls.credentials(), options)
                if tls
                else grpc.aio.insecure_channel(address, options)
            )
        return self._channels[address]

    async def close(self) -> None:
        self._blocking.close()
        for channel in self._channels.values():
            await channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Documents.

    async def ingest(
        self,
        name: str,
        source: Readable | AsyncIterable[bytes],
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
        """As Client.ingest. The source may be an asynchronous iterable too, and on_progress a coroutine function."""
        async with _Bridge(asyncio.get_running_loop()) as bridge:
            return await bridge.run(
                lambda: self._blocking.ingest_until(
                    bridge.stop,
                    name,
                    bridge.pieces(source) if isinstance(source, AsyncIterable) else source,
                    replace=replace,
                    append=append,
                    expire_time=expire_time,
                    verify=verify,
                    on_progress=on_progress and bridge.calling(on_progress),
                    chunk_bytes=chunk_bytes,
                    timeout=timeout,
                    request_id=request_id,
                )
            )

    async def get_ingest_status(
        self, name: str, *, timeout: float | None = None, request_id: str | None = None
    ) -> IngestProgress:
        request = encoder_pb2.GetIngestStatusRequest(name=document_name(name))
        return progress_from(await self._call(self._encoder.GetIngestStatus, request, timeout, request_id))

    async def create_document(
        self,
        name: str,
        *,
        expire_time: datetime.datetime | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Document:
        """As Client.create_document."""
        request = _requests.create(name, expire_time)
        return document_from(await self._call(self._encoder.CreateDocument, request, timeout, request_id, NO_RETRIES))

    async def get_document(self, name: str, *, timeout: float | None = None, request_id: str | None = None) -> Document:
        request = encoder_pb2.GetDocumentRequest(name=document_name(name))
        return document_from(await self._call(self._encoder.GetDocument, request, timeout, request_id))

    async def list_documents(
        self,
        collection: str = "-",
        *,
        page_size: int = 0,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> AsyncIterator[Document]:
        """As Client.list_documents: `async for document in client.list_documents(...)`."""
        token = ""
        while True:
            page, token = await self.list_page(collection, page_size, token, timeout=timeout, request_id=request_id)
            for document in page:
                yield document
            if not token:
                return

    async def list_page(
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
        answer = await self._call(self._encoder.ListDocuments, request, timeout, request_id)
        return [document_from(document) for document in answer.documents], answer.next_page_token

    async def set_expiry(
        self,
        name: str,
        expire_time: datetime.datetime | None,
        *,
        etag: str = "",
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Document:
        """As Client.set_expiry."""
        request = _requests.update(name, expire_time, etag)
        return document_from(await self._call(self._encoder.UpdateDocument, request, timeout, request_id))

    async def delete_document(
        self,
        name: str,
        *,
        etag: str = "",
        allow_missing: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> None:
        """As Client.delete_document."""
        request = encoder_pb2.DeleteDocumentRequest(name=document_name(name), etag=etag, allow_missing=allow_missing)
        attempts = Attempts(self._retry, self._timeout if timeout is None else timeout)
        try:
            await self._try(self._encoder.DeleteDocument, request, attempts, request_id)
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
    ) -> AsyncAnswerStream:
        """As Client.ask: `async with client.ask(...) as answer: async for event in answer: ...`."""
        request = _requests.generate(
            question, documents, budget, instruction, answer_prefix, max_tokens, stop, sampling, single_look
        )
        metadata, request_id = self._headers.of_call(request_id)
        attempts = Attempts(self._retry, self._timeout if timeout is None else timeout)
        return AsyncAnswerStream(
            lambda remaining: self._generator.Generate(request, timeout=remaining, metadata=metadata),
            attempts,
            request_id,
        )

    async def retrieve(
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
        return retrieval_from(await self._call(self._retriever.Retrieve, request, timeout, request_id))

    async def score_document(
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
        answer = await self._call(self._retriever.ScoreDocument, request, timeout, request_id)
        return [ScoredPart(part.byte_begin, part.byte_end, part.score) for part in answer.parts]

    async def read_text(
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
        answer = await self._call(self._retriever.ReadText, request, timeout, request_id)
        return TextPiece(answer.text, answer.byte_begin, answer.document_bytes)

    async def _call(
        self,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        timeout: float | None,
        request_id: str | None,
        policy: RetryPolicy | None = None,
    ) -> Any:
        attempts = Attempts(policy or self._retry, self._timeout if timeout is None else timeout)
        return await self._try(method, request, attempts, request_id)

    async def _try(
        self, method: Callable[..., Awaitable[Any]], request: Any, attempts: Attempts, request_id: str | None
    ) -> Any:
        while True:
            metadata, request_id = self._headers.of_call(request_id)
            try:
                return await method(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as rpc_error:
                error = errors.from_rpc_error(rpc_error, request_id)
            await asyncio.sleep(attempts.delay_after(error))


class _Bridge:
    """Runs one blocking call in a thread of its own, which may await things of the loop. Leaving it stops the call."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._executor = concurrent.futures.ThreadPoolExecutor(1, "ilre-ingest")
        self._awaited: set[concurrent.futures.Future[Any]] = set()
        self.stop = Stop()

    async def __aenter__(self) -> _Bridge:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        for future in list(self._awaited):
            future.cancel()
        self._executor.shutdown(wait=False)

    async def run(self, call: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._executor, call)

    def _wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """In the thread: the coroutine's result, which runs in the loop."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._awaited.add(future)
        try:
            if self.stop.is_set():
                future.cancel()
            return future.result()
        finally:
            self._awaited.discard(future)

    def pieces(self, source: AsyncIterable[bytes]) -> Iterator[bytes]:
        iterator = source.__aiter__()

        async def next_piece() -> bytes | None:
            return await anext(iterator, None)

        while (piece := self._wait_for(next_piece())) is not None:
            yield piece

    def calling(self, on_progress: Callable[[IngestProgress], object]) -> Callable[[IngestProgress], object]:
        async def call(progress: IngestProgress) -> None:
            answer = on_progress(progress)
            if inspect.isawaitable(answer):
                await answer

        return lambda progress: self._wait_for(call(progress))
