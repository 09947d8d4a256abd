"""A server that fails as it is told: what a client does about a lost connection or an overload has to be tried at an
exact moment, which no real server offers. It keeps the offset contract of IngestDocument and answers questions with
constants; the real services are tested in tests/services of the project.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from ilre.v1 import (
    encoder_pb2,
    encoder_pb2_grpc,
    generator_pb2,
    generator_pb2_grpc,
    resources_pb2,
    retriever_pb2,
    retriever_pb2_grpc,
)

COMMIT_BYTES = 1000


def refusal(code: str, reason: str, delay: float | None = None, field: str = "", **metadata: str) -> status_pb2.Status:
    """A google.rpc.Status as the real servers send them."""
    status = status_pb2.Status(code=code_pb2.Code.Value(code), message=f"told to say {reason}")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="ilre.io", metadata=metadata))
    if delay is not None:
        pause = duration_pb2.Duration(seconds=int(delay), nanos=round(delay % 1 * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=pause))
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description="wrong")
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return status


@dataclasses.dataclass
class Stored:
    """A document of the scripted encoder."""

    text: bytearray = dataclasses.field(default_factory=bytearray)
    ready: bool = False
    number: int = 0  # which creation it is of


@dataclasses.dataclass
class Fault:
    """Ends a call of `method` with `status` once `after_bytes` were received (of an ingest), or `after_events` sent (of
    an answer)."""

    method: str
    status: status_pb2.Status
    after_bytes: int = 0
    after_events: int = 0


class ScriptedServer(
    encoder_pb2_grpc.EncoderServicer, retriever_pb2_grpc.RetrieverServicer, generator_pb2_grpc.GeneratorServicer
):
    """What it saw stands in `calls` (method, metadata) and `received` (offset, data of every message)."""

    def __init__(self) -> None:
        self.documents: dict[str, Stored] = {}
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.received: list[tuple[int, bytes]] = []
        self.options: list[encoder_pb2.IngestOptions] = []
        self.sent_again: list[tuple[int, int]] = []  # (offset, committed bytes) of messages with committed bytes
        self.answers_cancelled = threading.Event()
        self.hold: Callable[[], object] = lambda: None  # called for each message of an ingest
        self.endless = False  # answers
        self._created = 0
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        encoder_pb2_grpc.add_EncoderServicer_to_server(self, self._server)
        retriever_pb2_grpc.add_RetrieverServicer_to_server(self, self._server)
        generator_pb2_grpc.add_GeneratorServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()

    def _enter(self, method: str, context: Any) -> Fault | None:
        """Notes the call. -> The fault that it shall meet later; one that it shall meet at once is raised."""
        self.calls.append((method, dict(context.invocation_metadata())))
        fault = next((fault for fault in self.faults if fault.method == method), None)
        if fault is not None:
            self.faults.remove(fault)
            if not fault.after_bytes and not fault.after_events:
                context.abort_with_status(rpc_status.to_status(fault.status))
        return fault

    def _find(self, name: str, context: Any) -> Stored:
        if name not in self.documents:
            context.abort_with_status(rpc_status.to_status(refusal("NOT_FOUND", "DOCUMENT_NOT_FOUND")))
        return self.documents[name]

    def _row(self, name: str) -> resources_pb2.Document:
        stored = self.documents[name]
        state = resources_pb2.Document.READY if stored.ready else resources_pb2.Document.INGESTING
        row = resources_pb2.Document(name=name, state=state, committed_bytes=len(stored.text))
        row.create_time.seconds = stored.number
        return row

    def _progress(self, name: str, with_document: bool) -> encoder_pb2.IngestProgress:
        progress = encoder_pb2.IngestProgress(committed_bytes=len(self.documents[name].text))
        if with_document:
            progress.document.CopyFrom(self._row(name))
        return progress

    def _create(self, name: str) -> Stored:
        self._created += 1
        self.documents[name] = Stored(number=self._created)
        return self.documents[name]

    # Encoder.

    def GetIngestStatus(self, request: Any, context: Any) -> Any:
        self._enter("GetIngestStatus", context)
        self._find(request.name, context)
        return self._progress(request.name, True)

    def IngestDocument(self, messages: Iterator[Any], context: Any) -> Iterator[Any]:
        fault = self._enter("IngestDocument", context)
        name, pending, read, expected = "", b"", 0, None
        options = encoder_pb2.IngestOptions()
        for message in messages:
            self.hold()
            if not name:
                name, options = message.name, message.options
                self.options.append(options)
                stored = self.documents.get(name) or self._create(name)
                comparing = message.write_offset < len(stored.text)
            self.received.append((message.write_offset, message.data))
            if message.write_offset < len(stored.text) and message.data:
                self.sent_again.append((message.write_offset, len(stored.text)))
            read += len(message.data)
            if expected is None and message.write_offset > len(stored.text):
                error = refusal("OUT_OF_RANGE", "OFFSET_GAP", committed_bytes=str(len(stored.text)))
                context.abort_with_status(rpc_status.to_status(error))
            assert expected is None or message.write_offset == expected, "a gap within a call"
            expected = message.write_offset + len(message.data)
            known = stored.text[message.write_offset : expected] if comparing else b""
            if known != message.data[: len(known)] and options.replace:
                text = stored.text[: message.write_offset]
                stored, comparing, known = self._create(name), False, b""
                stored.text = text
            elif known != message.data[: len(known)]:
                context.abort_with_status(rpc_status.to_status(refusal("ALREADY_EXISTS", "CONTENT_DIFFERS")))
            new = message.data[len(known) :]
            if new and stored.ready and not options.append:
                context.abort_with_status(rpc_status.to_status(refusal("ALREADY_EXISTS", "DOCUMENT_EXISTS")))
            pending += new
            stored.ready = stored.ready and not new
            if len(pending) >= COMMIT_BYTES or (pending and (message.flush or message.finish_write)):
                stored.text += pending
                pending = b""
                if fault is None or read < fault.after_bytes:
                    yield self._progress(name, False)
            if fault is not None and read >= fault.after_bytes:
                context.abort_with_status(rpc_status.to_status(fault.status))
            if message.finish_write:
                if expected < len(stored.text):
                    context.abort_with_status(rpc_status.to_status(refusal("ALREADY_EXISTS", "CONTENT_DIFFERS")))
                stored.ready = True
                yield self._progress(name, True)
                return

    def GetDocument(self, request: Any, context: Any) -> Any:
        self._enter("GetDocument", context)
        self._find(request.name, context)
        return self._row(request.name)

    def DeleteDocument(self, request: Any, context: Any) -> Any:
        from google.protobuf import empty_pb2

        self._find(request.name, context)
        del self.documents[request.name]
        self._enter("DeleteDocument", context)  # a fault after the deed: the answer is lost
        return empty_pb2.Empty()

    def ListDocuments(self, request: Any, context: Any) -> Any:
        self._enter("ListDocuments", context)
        names = sorted(self.documents)
        begin, size = int(request.page_token or 0), request.page_size or 100
        page = [self._row(name) for name in names[begin : begin + size]]
        token = str(begin + size) if begin + size < len(names) else ""
        return encoder_pb2.ListDocumentsResponse(documents=page, next_page_token=token)

    def UpdateDocument(self, request: Any, context: Any) -> Any:
        self._enter("UpdateDocument", context)
        row = self._row(request.document.name)
        if request.document.HasField("expire_time"):
            row.expire_time.CopyFrom(request.document.expire_time)
        return row

    # Retriever and Generator.

    def Retrieve(self, request: Any, context: Any) -> Any:
        self._enter("Retrieve", context)
        span = resources_pb2.Span(document=request.names[0], token_end=7, byte_end=30, score=0.5, text="A span.")
        span.token_ids.extend([1, 2] if request.include_token_ids else [])
        timings = resources_pb2.Timings(query_ms=1.5, total_ms=2.5)
        response = retriever_pb2.RetrieveResponse(
            spans=[span], document_tokens=100, document_count=len(request.names), recalled_tokens=7, timings=timings
        )
        self._count_words(request, response)
        return response

    def _count_words(self, request: Any, response: Any) -> None:
        if "common words" in request.question:
            response.word_counts.words.add(word="kite", count=3)
            response.word_counts.total = 5

    def ScoreDocument(self, request: Any, context: Any) -> Any:
        self._enter("ScoreDocument", context)
        part = retriever_pb2.ScoreDocumentResponse.Part(byte_begin=0, byte_end=10, score=0.25)
        return retriever_pb2.ScoreDocumentResponse(parts=[part] * (request.part_count or 512))

    def ReadText(self, request: Any, context: Any) -> Any:
        self._enter("ReadText", context)
        return retriever_pb2.ReadTextResponse(text="text", byte_begin=request.byte_begin, document_bytes=99)

    def Generate(self, request: Any, context: Any) -> Iterator[Any]:
        fault = self._enter("Generate", context)
        context.add_callback(self.answers_cancelled.set)
        for number, event in enumerate(self._answer(request)):
            if fault is not None and number == fault.after_events:
                context.abort_with_status(rpc_status.to_status(fault.status))
            yield event

    def _answer(self, request: Any) -> Iterator[generator_pb2.GenerateResponse]:
        summary = generator_pb2.RetrieveSummary(document_tokens=100, recalled_tokens=7, prompt_tokens=30)
        summary.spans.add(document=request.names[0] if request.names else "", text="A span.", in_prompt=True)
        self._count_words(request, summary)
        yield generator_pb2.GenerateResponse(recall=summary)
        yield generator_pb2.GenerateResponse(text="The ")
        while self.endless and not self.answers_cancelled.wait(0.01):
            yield generator_pb2.GenerateResponse(text="more ")
        yield generator_pb2.GenerateResponse(text="answer.")
        finish = generator_pb2.Finish(reason=generator_pb2.Finish.MAX_TOKENS, answer_tokens=2)
        finish.timings.total_ms = 12
        yield generator_pb2.GenerateResponse(finish=finish)
