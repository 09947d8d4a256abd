#!/usr/bin/env python3
"""What both clients do about answers, refusals and broken calls, against a server that fails as it is told.

The package `ilre` must be importable. Usage: client_test.py [unittest arguments]
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import inspect
import io
import os
import random
import tempfile
import threading
import time
import unittest

import grpc
import ilre
from scripted_server import Fault, ScriptedServer, refusal

NAME = "collections/default/documents/d"
TEXT = random.Random(1).randbytes(50_000).hex().encode()  # 100,000 bytes
QUICK = ilre.RetryPolicy(first_delay=0.01, max_delay=0.05)
UNAVAILABLE = refusal("UNAVAILABLE", "DRAINING")


class InLoop:
    """An AsyncClient used like a Client: each call runs in its own event loop's thread."""

    def __init__(self, *arguments, **options) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = self._run(self._make(ilre.AsyncClient, *arguments, **options))

    @staticmethod
    async def _make(kind, *arguments, **options):
        return kind(*arguments, **options)

    def _run(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(60)

    def close(self) -> None:
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **options):
            if name == "ask":
                return InLoopStream(self, self._run(self._make(method, *arguments, **options)))
            if inspect.isasyncgenfunction(method):
                return iter(self._run(self._collect(method(*arguments, **options))))
            return self._run(method(*arguments, **options))

        return call

    @staticmethod
    async def _collect(items):
        return [item async for item in items]


class InLoopStream:
    def __init__(self, client: InLoop, stream) -> None:
        self._client, self._stream = client, stream

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self._client._run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def result(self):
        return self._client._run(self._stream.result())

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        async def close():
            self._stream.close()

        self._client._run(close())


class Tests:
    """Of both clients: Client is set by the subclasses."""

    client_class = ilre.Client

    def setUp(self) -> None:
        self.server = ScriptedServer()
        self.addCleanup(self.server.close)

    def client(self, **options):
        client = self.client_class(self.server.address, **({"retry": QUICK} | options))
        self.addCleanup(client.close)
        return client

    # Ingest.

    def test_ingest_of_every_kind_of_source(self) -> None:
        path = tempfile.NamedTemporaryFile()
        self.addCleanup(path.close)
        path.write(b"before" + TEXT)
        path.flush()
        beginning = tempfile.NamedTemporaryFile()
        self.addCleanup(beginning.close)
        beginning.write(TEXT)
        beginning.flush()
        standing = open(path.name, "rb")
        self.addCleanup(standing.close)
        standing.seek(6)
        pieces = [TEXT[i : i + 777] for i in range(0, len(TEXT), 777)]
        read_end, write_end = os.pipe()
        writer = threading.Thread(target=lambda: (os.write(write_end, TEXT[:60_000]), os.close(write_end)))
        writer.start()
        with open(read_end, "rb") as pipe:
            sources = {
                "path": (beginning.name, TEXT),
                "bytes": (TEXT, TEXT),
                "bytearray": (bytearray(TEXT), TEXT),
                "file": (standing, TEXT),
                "memory file": (io.BytesIO(TEXT), TEXT),
                "iterator": (iter(pieces), TEXT),
                "pipe": (pipe, TEXT[:60_000]),
            }
            for kind, (source, wanted) in sources.items():
                with self.subTest(kind):
                    document = self.client().ingest("d", source, chunk_bytes=10_000)
                    self.assertEqual(document.state, ilre.DocumentState.READY)
                    self.assertEqual(self.server.documents.pop(NAME).text, wanted)
        writer.join()
        with self.assertRaises(TypeError):
            self.client().ingest("d", io.StringIO("text"))
        with self.assertRaises(TypeError):
            self.client().ingest("d", 7)

    def test_chunks_are_at_most_1_mib(self) -> None:
        text = b"x" * (3 * 1024 * 1024 + 5)
        self.client().ingest("d", text)
        self.assertEqual(max(len(data) for _, data in self.server.received), 1 << 20)
        with self.assertRaises(ValueError):
            self.client().ingest("e", text, chunk_bytes=(1 << 20) + 1)

    def test_ingest_goes_on_after_interruptions_and_resends_nothing_committed(self) -> None:
        for kind, source in {"bytes": TEXT, "iterator": (TEXT[i : i + 999] for i in range(0, len(TEXT), 999))}.items():
            with self.subTest(kind):
                self.server.received.clear()
                self.server.faults = [
                    Fault("GetIngestStatus", UNAVAILABLE),
                    Fault("IngestDocument", UNAVAILABLE, after_bytes=20_000),
                    Fault("IngestDocument", refusal("ABORTED", "INGEST_TAKEN_OVER"), after_bytes=30_000),
                    Fault("IngestDocument", refusal("RESOURCE_EXHAUSTED", "OVERLOADED", delay=0.02)),
                    Fault("IngestDocument", UNAVAILABLE, after_bytes=10_000),
                ]
                progress = []
                document = self.client().ingest("d", source, chunk_bytes=1000, on_progress=progress.append)
                self.assertEqual(self.server.faults, [])
                self.assertEqual(document.committed_bytes, len(TEXT))
                self.assertEqual(self.server.documents.pop(NAME).text, TEXT)
                self.assertEqual(self.server.sent_again, [])
                committed = [step.committed_bytes for step in progress]
                self.assertEqual(committed, sorted(committed))
                self.assertEqual(progress[-1].total_bytes, len(TEXT) if kind == "bytes" else None)
                self.assertIsNotNone(progress[-1].document)

    def test_a_later_ingest_goes_on_too(self) -> None:
        self.server.faults = [Fault("IngestDocument", UNAVAILABLE, after_bytes=40_000)]
        with self.assertRaises(ilre.UnavailableError):
            self.client(retry=ilre.NO_RETRIES).ingest("d", TEXT, chunk_bytes=1000)
        self.server.received.clear()
        self.client().ingest("d", TEXT)
        self.assertEqual(self.server.received[0][0], 40_000)
        self.assertEqual(self.server.documents[NAME].text, TEXT)

    def test_verify_compares_what_an_interrupted_ingest_left(self) -> None:
        self.server.faults = [Fault("IngestDocument", UNAVAILABLE, after_bytes=40_000)]
        with self.assertRaises(ilre.UnavailableError):
            self.client(retry=ilre.NO_RETRIES).ingest("d", TEXT, chunk_bytes=1000)
        with self.assertRaises(ilre.AlreadyExistsError) as caught:
            self.client().ingest("d", b"!" + TEXT[1:], verify=True)
        self.assertEqual(caught.exception.reason, "CONTENT_DIFFERS")
        self.client().ingest("d", TEXT, verify=True)
        self.assertEqual(self.server.documents[NAME].text, TEXT)

    def test_a_ready_document_is_compared(self) -> None:
        self.client().ingest("d", TEXT)
        self.server.received.clear()
        self.assertEqual(self.client().ingest("d", TEXT).state, ilre.DocumentState.READY)
        self.assertEqual(self.server.received[0][0], 0)
        for other in (b"!" + TEXT[1:], TEXT + b"more", TEXT[:-1]):
            with self.subTest(other[-4:]), self.assertRaises(ilre.AlreadyExistsError):
                self.client().ingest("d", other)
        self.server.received.clear()
        self.assertEqual(self.client().ingest("d", TEXT, verify=False).committed_bytes, len(TEXT))
        self.assertEqual(self.server.received, [])

    def test_a_source_shorter_than_what_is_committed_is_refused(self) -> None:
        self.server.faults = [Fault("IngestDocument", UNAVAILABLE, after_bytes=40_000)]
        with self.assertRaises(ilre.UnavailableError):
            self.client(retry=ilre.NO_RETRIES).ingest("d", TEXT, chunk_bytes=1000)
        for source in (TEXT[:30_000], iter([TEXT[:30_000]])):
            with self.subTest(type(source)), self.assertRaises(ilre.AlreadyExistsError) as caught:
                self.client().ingest("d", source)
            self.assertEqual(caught.exception.reason, "CONTENT_DIFFERS")
        self.assertFalse(self.server.documents[NAME].ready)

    def test_replace_with_interruptions(self) -> None:
        self.client().ingest("d", b"x" * 50_000)
        self.server.faults = [
            Fault("IngestDocument", UNAVAILABLE, after_bytes=500),
            Fault("IngestDocument", UNAVAILABLE, after_bytes=30_000),
        ]
        self.client().ingest("d", TEXT, replace=True, chunk_bytes=1000)
        self.assertEqual(self.server.documents[NAME].text, TEXT)
        self.client().ingest("new", TEXT, replace=True)
        self.assertEqual(self.server.documents["collections/default/documents/new"].text, TEXT)

    def test_append_with_interruptions(self) -> None:
        self.client().ingest("d", b"x" * 5_000)
        self.server.faults = [
            Fault("IngestDocument", UNAVAILABLE, after_bytes=500),
            Fault("IngestDocument", UNAVAILABLE, after_bytes=30_000),
        ]
        document = self.client().ingest("d", TEXT, append=True, chunk_bytes=1000)
        self.assertEqual(document.committed_bytes, 5_000 + len(TEXT))
        self.assertEqual(self.server.documents[NAME].text, b"x" * 5_000 + TEXT)
        self.server.documents[NAME].ready = False
        with self.assertRaises(ilre.FailedPreconditionError):
            self.client().ingest("d", TEXT, append=True)
        with self.assertRaises(ValueError):
            self.client().ingest("d", TEXT, append=True, replace=True)

    def test_a_lost_last_answer_is_no_loss(self) -> None:
        self.server.faults = [Fault("IngestDocument", UNAVAILABLE, after_bytes=len(TEXT))]
        document = self.client().ingest("d", TEXT, chunk_bytes=len(TEXT))
        self.assertEqual(document.committed_bytes, len(TEXT))

    def test_a_failing_source_is_reported_and_what_came_before_is_kept(self) -> None:
        def broken():
            yield TEXT[:10_000]
            raise RuntimeError("the disk is gone")

        with self.assertRaisesRegex(RuntimeError, "the disk is gone"):
            self.client().ingest("d", broken())
        self.assertFalse(self.server.documents[NAME].ready)
        with self.assertRaisesRegex(ZeroDivisionError, ""):
            self.client().ingest("e", TEXT, on_progress=lambda progress: 1 // 0)

    def test_a_source_is_not_read_far_ahead_of_a_slow_server(self) -> None:
        size, piece = 64 << 20, b"y" * (1 << 20)
        ready, taken = threading.Event(), 0

        def pieces():
            nonlocal taken
            while taken < size:
                taken += len(piece)
                yield piece

        self.server.hold = ready.wait
        self.addCleanup(ready.set)
        thread = threading.Thread(target=lambda: self.client().ingest("d", pieces()))
        thread.start()
        before = -1
        while before != taken:  # until it stands still
            before = taken
            time.sleep(0.5)
        self.assertLess(taken, 24 << 20)
        ready.set()
        thread.join(120)
        self.assertFalse(thread.is_alive())
        self.assertEqual(len(self.server.documents[NAME].text), size)

    def test_timeout_of_an_ingest(self) -> None:
        ready = threading.Event()
        self.server.hold = ready.wait
        self.addCleanup(ready.set)
        with self.assertRaises(ilre.DeadlineExceededError):
            self.client().ingest("d", TEXT, timeout=0.5)

    def test_expiry(self) -> None:
        when = datetime.datetime(2040, 1, 2, tzinfo=datetime.timezone.utc)
        self.client().ingest("d", TEXT, expire_time=when)
        self.assertEqual(self.server.options[-1].expire_time.ToDatetime(tzinfo=datetime.timezone.utc), when)
        self.assertEqual(self.client().set_expiry("d", when).expire_time, when)
        self.assertIsNone(self.client().set_expiry("d", None).expire_time)
        with self.assertRaises(ValueError):
            self.client().set_expiry("d", datetime.datetime(2040, 1, 2))

    # Tries and errors.

    def test_errors_say_all_that_came(self) -> None:
        error = refusal("INVALID_ARGUMENT", "INVALID_ARGUMENT", field="sampling.top_p", figure="7")
        self.server.faults = [Fault("Retrieve", error)]
        with self.assertRaises(ilre.InvalidArgumentError) as caught:
            self.client().retrieve("Who?", "d", request_id="my-request.1")
        self.assertEqual(caught.exception.reason, "INVALID_ARGUMENT")
        self.assertEqual(caught.exception.field_violations, (ilre.FieldViolation("sampling.top_p", "wrong"),))
        self.assertEqual(caught.exception.metadata, {"figure": "7"})
        self.assertEqual(caught.exception.request_id, "my-request.1")
        self.assertIsNone(caught.exception.retry_delay)
        self.assertIn("INVALID_ARGUMENT: told to say", str(caught.exception))

    def test_what_is_tried_again_and_what_is_not(self) -> None:
        for error, tries in [
            (refusal("UNAVAILABLE", "DRAINING"), 2),
            (refusal("ABORTED", "DOCUMENT_CHANGED"), 2),
            (refusal("RESOURCE_EXHAUSTED", "OVERLOADED", delay=0.01), 2),
            (refusal("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), 1),
            (refusal("RESOURCE_EXHAUSTED", "OVERLOADED", delay=3600), 1),
            (refusal("ABORTED", "ETAG_MISMATCH"), 1),
            (refusal("INTERNAL", "INPUT_OUTPUT"), 1),
            (refusal("DATA_LOSS", "DAMAGED"), 1),
            (refusal("FAILED_PRECONDITION", "MODEL_MISMATCH"), 1),
        ]:
            with self.subTest(str(error).replace("\n", " ")):
                self.server.calls.clear()
                self.server.faults = [Fault("Retrieve", error)]
                with contextlib.suppress(ilre.IlreError):
                    self.client().retrieve("Who?", "d")
                self.assertEqual(len(self.server.calls), tries)

    def test_the_servers_delay_is_kept(self) -> None:
        self.server.faults = [Fault("Retrieve", refusal("RESOURCE_EXHAUSTED", "OVERLOADED", delay=0.4))]
        start = time.monotonic()
        self.client().retrieve("Who?", "d")
        self.assertGreaterEqual(time.monotonic() - start, 0.4)  # never earlier; how much later is the machine's affair

    def test_tries_end(self) -> None:
        self.server.faults = [Fault("Retrieve", UNAVAILABLE)] * 10
        with self.assertRaises(ilre.UnavailableError):
            self.client(retry=ilre.RetryPolicy(max_attempts=3, first_delay=0.01)).retrieve("Who?", "d")
        self.assertEqual(len(self.server.calls), 3)

    def test_a_server_that_is_not_there(self) -> None:
        self.server.close()
        with self.assertRaises(ilre.UnavailableError):
            self.client(retry=ilre.NO_RETRIES).get_document("d", timeout=5)

    def test_a_lost_answer_to_delete_is_no_error(self) -> None:
        self.client().ingest("d", TEXT)
        self.server.faults = [Fault("DeleteDocument", UNAVAILABLE)]
        self.client().delete_document("d")
        with self.assertRaises(ilre.NotFoundError):
            self.client().delete_document("d")

    def test_token_request_id_and_metadata_go_along(self) -> None:
        tokens = iter(["one", "two"])
        client = self.client(token=lambda: next(tokens), metadata=[("traceparent", "00-abc")])
        client.retrieve("Who?", "d", request_id="r-1")
        client.ask("Who?", "d").result()
        (_, first), (_, second) = self.server.calls
        self.assertEqual((first["authorization"], second["authorization"]), ("Bearer one", "Bearer two"))
        self.assertEqual((first["x-request-id"], first["traceparent"]), ("r-1", "00-abc"))
        self.assertRegex(second["x-request-id"], "^[0-9a-f]{32}$")

    # The other calls.

    def test_documents(self) -> None:
        for name in ("a", "b", "c/x"):
            self.client().ingest(name, TEXT)
        names = [document.name for document in self.client().list_documents(page_size=2)]
        wanted = [("c", "x"), ("default", "a"), ("default", "b")]
        self.assertEqual(names, [f"collections/{c}/documents/{d}" for c, d in wanted])
        page, token = self.client().list_page(page_size=1)
        self.assertEqual((len(page), bool(token)), (1, True))
        self.assertEqual(self.client().get_document("c/x").committed_bytes, len(TEXT))
        self.assertEqual(self.client().get_ingest_status("collections/c/documents/x").committed_bytes, len(TEXT))

    def test_questions(self) -> None:
        recalled = self.client().retrieve("Who?", ["d", "c/-"], include_token_ids=True)
        self.assertEqual(recalled.spans[0].document, NAME)
        self.assertEqual((recalled.spans[0].token_ids, recalled.document_count), ((1, 2), 2))
        self.assertEqual((recalled.timings.query_ms, recalled.timings.total_ms), (1.5, 2.5))
        self.assertIsNone(recalled.word_counts)
        self.assertEqual(len(self.client().score_document("d", "Who?", part_count=3)), 3)
        self.assertEqual(self.client().read_text("d", 5), ilre.TextPiece("text", 5, 99))

    def test_questions_that_count_words_say_so(self) -> None:
        counts = ilre.WordCounts((ilre.WordCount("kite", 3),), 5)
        question = "What are the common words?"
        self.assertEqual(self.client().retrieve(question, "d").word_counts, counts)
        self.assertEqual(next(iter(self.client().ask(question, "d"))).word_counts, counts)
        self.assertEqual(self.client().ask(question, "d").result().word_counts, counts)
        self.assertIsNone(self.client().ask("Who?", "d").result().word_counts)

    def test_answers_are_streamed(self) -> None:
        kinds = [type(event).__name__ for event in self.client().ask("Who?", "d")]
        self.assertEqual(kinds, ["Recall", "Text", "Text", "Finish"])
        answer = self.client().ask("Who?").result()
        self.assertEqual((answer.text, answer.prompt_tokens, answer.timings.total_ms), ("The answer.", 30, 12))
        self.assertEqual(answer.finish_reason, ilre.FinishReason.MAX_TOKENS)
        with self.client().ask("Who?") as stream:
            next(iter(stream))
            self.assertEqual(stream.result().text, "The answer.")

    def test_an_answer_is_tried_again_only_before_its_first_event(self) -> None:
        self.server.faults = [Fault("Generate", UNAVAILABLE)]
        self.assertEqual(self.client().ask("Who?", "d").result().text, "The answer.")
        self.server.faults = [Fault("Generate", UNAVAILABLE, after_events=2)]
        stream = self.client().ask("Who?", "d")
        self.assertIsInstance(next(stream), ilre.Recall)
        self.assertEqual(next(stream), ilre.Text("The "))
        with self.assertRaises(ilre.UnavailableError):
            next(stream)

    def test_leaving_an_answer_stops_the_server(self) -> None:
        self.server.endless = True
        with self.client().ask("Who?", "d") as stream:
            for event in stream:
                if event == ilre.Text("more "):
                    break
        self.assertTrue(self.server.answers_cancelled.wait(30))


class SyncTest(Tests, unittest.TestCase):
    def test_codes_have_classes(self) -> None:
        kinds = {kind.code for kind in ilre.IlreError.__subclasses__()}
        self.assertEqual(kinds, set(grpc.StatusCode) - {grpc.StatusCode.OK})


class AsyncTest(Tests, unittest.TestCase):
    client_class = InLoop

    def test_an_asynchronous_source(self) -> None:
        async def pieces():
            for begin in range(0, len(TEXT), 999):
                yield TEXT[begin : begin + 999]

        self.server.faults = [Fault("IngestDocument", UNAVAILABLE, after_bytes=20_000)]
        steps = []

        async def note(progress):
            steps.append(progress)

        self.client().ingest("d", pieces(), on_progress=note)
        self.assertEqual(self.server.documents[NAME].text, TEXT)
        self.assertTrue(steps)

    def test_cancelling_an_ingest_stops_it(self) -> None:
        async def endless():
            yield TEXT
            await asyncio.Event().wait()

        async def run() -> None:
            async with ilre.AsyncClient(self.server.address) as client:
                started = asyncio.Event()
                task = asyncio.create_task(client.ingest("d", endless(), on_progress=lambda progress: started.set()))
                await started.wait()
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task

        asyncio.run(run())
        self.assertFalse(self.server.documents[NAME].ready)


if __name__ == "__main__":
    unittest.main()
