#!/usr/bin/env python3
"""Ten times as many calls as a server takes: the rest is refused at once with a time to come back, memory stays
bounded, everything that was taken is answered right, and a client that waits as told gets its answer.

Usage: overload_test.py FOLDER_OF_PROGRAMS [unittest arguments]
bench/services --only overload does it for a minute and measures times.
"""

from __future__ import annotations

import collections
import sys
import threading
import unittest

import golden
import grpc
import ilre
from ilre.v1 import encoder_pb2, encoder_pb2_grpc, generator_pb2, generator_pb2_grpc
from servers import Services, made_up_text, wait_for

PROGRAMS = ""
RUNNING, WAITING = 2, 4
CALLERS = 10 * (RUNNING + WAITING)
CALLS = 6  # of each caller
MEMORY_BYTES = 256 << 20  # more than the server had before; the model is tiny
# A client that takes so many bytes and no more while it does not read.
WINDOW_BYTES = 100
SMALL_WINDOW = [("grpc.http2.lookahead_bytes", WINDOW_BYTES), ("grpc.http2.bdp_probe", 0)]


class OverloadTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.services = Services(PROGRAMS)
        cls.addClassCleanup(cls.services.close)
        cls.server = cls.services.start(
            "serve", "--max-running", str(RUNNING), "--max-waiting", str(WAITING), "--max-ingests", str(WAITING)
        )
        cls.client = ilre.Client(cls.server.address, retry=ilre.RetryPolicy(max_attempts=100))
        cls.addClassCleanup(cls.client.close)
        cls.golden = golden.Golden(cls.client)

    def flood(self, call, callers: int = CALLERS) -> collections.Counter:
        """Runs call(client, number) in many threads. -> outcomes by reason"""
        outcomes, wrong = collections.Counter(), []
        ready = threading.Barrier(callers)

        def run(number: int) -> None:
            with ilre.Client(self.server.address, retry=ilre.NO_RETRIES) as client:
                ready.wait()
                for _ in range(CALLS):
                    try:
                        call(client, number)
                        outcomes["OK"] += 1
                    except ilre.ResourceExhaustedError as error:
                        if error.reason != "OVERLOADED" or not error.retry_delay:
                            wrong.append(error)
                        outcomes[error.reason] += 1
                    except BaseException as error:
                        wrong.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        return outcomes

    def check_afterwards(self, outcomes: collections.Counter, memory_before: int) -> None:
        self.assertGreater(outcomes["OK"], 0, outcomes)
        self.assertGreater(outcomes["OVERLOADED"], 0, outcomes)
        self.assertLess(self.server.peak_memory(), memory_before + MEMORY_BYTES)
        self.server.wait_until_idle()
        self.golden.check(self.client)

    def test_questions(self) -> None:
        before = self.server.peak_memory()

        def ask(client: ilre.Client, number: int) -> None:
            answer = client.ask(golden.QUESTION, golden.NAME, max_tokens=golden.MAX_TOKENS).result()
            assert golden.plain(answer) == self.golden.answer, answer

        self.check_afterwards(self.flood(ask), before)

    def test_searches(self) -> None:
        before = self.server.peak_memory()

        def search(client: ilre.Client, number: int) -> None:
            recalled = client.retrieve(golden.QUESTION, golden.NAME)
            assert golden.plain(recalled) == self.golden.recalled, recalled

        self.check_afterwards(self.flood(search), before)

    def test_ingests(self) -> None:
        before = self.server.peak_memory()
        text = made_up_text(30_000).encode("ascii", errors="replace")  # may be cut anywhere

        def ingest(client: ilre.Client, number: int) -> None:
            client.ingest(f"flood/d{number}", text[: 20_000 + number], replace=True)

        self.check_afterwards(self.flood(ingest, callers=40), before)

    def test_a_client_that_sends_faster_than_is_computed(self) -> None:
        """It is slowed down: what it has sent and what the server holds stay bounded."""
        before = self.server.peak_memory()
        data = made_up_text(1 << 20).encode("ascii", errors="replace")[: 1 << 20]
        sent = [0]

        def messages():
            for number in range(256):
                sent[0] = number + 1
                name = "collections/flood/documents/fast" if number == 0 else ""
                yield encoder_pb2.IngestDocumentRequest(name=name, write_offset=number << 20, data=data)

        with grpc.insecure_channel(self.server.address) as channel:
            call = encoder_pb2_grpc.EncoderStub(channel).IngestDocument(messages())
            for progress in call:
                if progress.committed_bytes > 500_000:
                    break
            self.assertLess(sent[0], 24)  # MiB; a message is computed before the next one is read
            self.assertLess(self.server.peak_memory(), before + (64 << 20))
            call.cancel()
        self.server.wait_until_idle()

    def test_a_client_that_does_not_read_its_answer(self) -> None:
        """It holds up nobody, costs little, and gets the whole answer once it reads."""
        request = generator_pb2.GenerateRequest(question="a long story", instruction="", max_tokens=400)
        before = self.server.peak_memory()
        with grpc.insecure_channel(self.server.address, options=SMALL_WINDOW) as channel:
            stub = generator_pb2_grpc.GeneratorStub(channel)
            whole = list(stub.Generate(request))
            text = "".join(event.text for event in whole)
            self.assertGreater(len(text), 3 * WINDOW_BYTES, "it would be sent without being read")
            answered = self.server.metric("ilre_requests_total", method="ilre.v1.Generator/Generate")
            slow = [stub.Generate(request) for _ in range(RUNNING + 1)]
            self.golden.check(self.client)  # beside them
            # The model has computed all that was asked for, and waits for nobody.
            wait_for("the model rests", lambda: self.stable("ilre_model_steps_total"))
            self.assertEqual(
                self.server.metric("ilre_requests_total", method="ilre.v1.Generator/Generate"), answered + 1
            )
            self.assertLess(self.server.peak_memory(), before + (32 << 20))
            for call in slow:
                self.assertEqual("".join(event.text for event in call), text)
        self.server.wait_until_idle()

    def test_a_client_that_does_not_read_its_acknowledgements(self) -> None:
        """What it sends is read and kept all the same; it finds the newest acknowledgements when it looks."""
        text, chunk = made_up_text(100_000).encode("ascii", errors="replace"), 500
        name = "collections/flood/documents/unread"

        def messages():
            for begin in range(0, len(text), chunk):
                yield encoder_pb2.IngestDocumentRequest(
                    name=name, write_offset=begin, data=text[begin : begin + chunk], flush=True
                )
            sent.wait()

        sent, before = threading.Event(), self.server.peak_memory()
        with grpc.insecure_channel(self.server.address, options=SMALL_WINDOW) as channel:
            call = encoder_pb2_grpc.EncoderStub(channel).IngestDocument(messages())
            wait_for("all is kept", lambda: self.committed_bytes("flood/unread") == len(text))
            self.assertLess(self.server.peak_memory(), before + (64 << 20))
            sent.set()
            acknowledged = [progress.committed_bytes for progress in call]
        self.assertEqual(acknowledged, sorted(acknowledged))
        self.assertEqual(acknowledged[-1], len(text))
        self.assertLess(len(acknowledged), len(text) // chunk // 2, "they were piled up")
        self.client.delete_document("flood/unread")

    def committed_bytes(self, name: str) -> int:
        try:
            return self.client.get_ingest_status(name).committed_bytes
        except ilre.NotFoundError:
            return 0

    def stable(self, metric: str) -> bool:
        value = self.server.metric(metric)
        return all(self.server.metric(metric) == value for _ in range(20))

    def test_who_waits_as_told_is_answered(self) -> None:
        answers = []

        def ask() -> None:
            with ilre.Client(self.server.address, retry=ilre.RetryPolicy(max_attempts=1000)) as client:
                answer = client.ask(golden.QUESTION, golden.NAME, max_tokens=golden.MAX_TOKENS).result()
                answers.append(golden.plain(answer) == self.golden.answer)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [True] * 20)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main()
