#!/usr/bin/env python3
"""SIGTERM while documents are read and answers are written: health says so first, what runs finishes within the grace
or is told to come back, nothing that was acknowledged is lost, and the process ends with status 0.

Usage: drain_test.py FOLDER_OF_PROGRAMS [unittest arguments]
"""

from __future__ import annotations

import signal
import sys
import threading
import unittest

import built_client  # noqa: F401
import grpc
import ilre
from grpc_health.v1 import health_pb2, health_pb2_grpc
from servers import Services, made_up_text, wait_for

PROGRAMS = ""
TEXT = made_up_text(200_000).encode()
HALF = len(TEXT) // 2
QUESTION = "Which harbour has the better lamp?"
Status = health_pb2.HealthCheckResponse


class Background:
    """A call in a thread; result() gives or raises what it did."""

    def __init__(self, call) -> None:
        self._call, self._result, self._error = call, None, None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def result(self):
        self._thread.join(120)
        assert not self._thread.is_alive(), "the call hangs"
        if self._error is not None:
            raise self._error
        return self._result


class DrainTest(unittest.TestCase):
    def setUp(self) -> None:
        self.services = Services(PROGRAMS)
        self.addCleanup(self.services.close)
        self.go_on = threading.Event()  # the second half of the document may be sent
        self.addCleanup(self.go_on.set)
        self.acknowledged = 0

    def client(self, server, **options) -> ilre.Client:
        client = ilre.Client(server.address, retry=ilre.NO_RETRIES, **options)
        self.addCleanup(client.close)
        return client

    def start_ingest(self, client: ilre.Client) -> Background:
        """Returns when something of the first half is acknowledged."""
        acknowledged = threading.Event()

        def pieces():
            yield TEXT[:HALF]
            self.go_on.wait()
            yield TEXT[HALF:]

        def note(progress: ilre.IngestProgress) -> None:
            self.acknowledged = max(self.acknowledged, progress.committed_bytes)
            acknowledged.set()

        running = Background(lambda: client.ingest("d", pieces(), on_progress=note))
        self.assertTrue(acknowledged.wait(120))
        return running

    def watch_health(self, server) -> Background:
        """-> the statuses that Watch reports until the server is gone"""
        channel = grpc.insecure_channel(server.address)
        self.addCleanup(channel.close)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        self.seen = [next(watch).status]

        def follow() -> list:
            try:
                for answer in watch:
                    self.seen.append(answer.status)
            except grpc.RpcError:
                pass
            return self.seen

        return Background(follow)

    def test_what_runs_finishes_within_the_grace(self) -> None:
        server = self.services.start("serve", "--drain-seconds", "100")
        client, other = self.client(server), self.client(server)
        client.ingest("golden", TEXT[:20_000])
        wanted = client.ask(QUESTION, "golden", max_tokens=100).result().text
        ingest = self.start_ingest(client)
        answer = client.ask(QUESTION, "golden", max_tokens=100)
        next(answer)
        health = self.watch_health(server)
        self.assertEqual(self.seen, [Status.SERVING])

        server.process.send_signal(signal.SIGTERM)
        wait_for("health says NOT_SERVING", lambda: Status.NOT_SERVING in self.seen)
        self.assertIsNone(server.process.poll(), "it ended although an ingest is running")
        with self.assertRaises(ilre.UnavailableError):
            other.get_document("golden")
        self.assertEqual(answer.result().text, wanted)
        self.go_on.set()
        self.assertEqual(ingest.result().committed_bytes, len(TEXT))
        self.assertEqual(server.wait(), 0)
        self.assertEqual(health.result(), [Status.SERVING, Status.NOT_SERVING])
        self.assertEqual(self.services.ilre.show("d")["state"], "READY")

    def test_what_goes_on_for_longer_is_told_to_come_back(self) -> None:
        server = self.services.start("serve", "--drain-seconds", "1")
        client = self.client(server)
        ingest = self.start_ingest(client)
        self.assertEqual(server.terminate(), 0)
        self.go_on.set()
        with self.assertRaises(ilre.UnavailableError) as caught:
            ingest.result()
        self.assertEqual(caught.exception.reason, "DRAINING")
        self.assertIsNotNone(caught.exception.retry_delay)

        server = self.services.start("serve")
        client = self.client(server)
        status = client.get_ingest_status("d")
        self.assertGreaterEqual(status.committed_bytes, self.acknowledged)
        self.assertLessEqual(status.committed_bytes, HALF)
        self.assertEqual(client.ingest("d", TEXT).state, ilre.DocumentState.READY)
        client.ingest("whole", TEXT)
        self.assertEqual(server.terminate(), 0)
        self.assertEqual(self.services.checksums("d"), self.services.checksums("whole"))

    def test_a_client_that_may_retry_does_not_notice(self) -> None:
        server = self.services.start("serve", "--drain-seconds", "1")
        from fault_proxy import FaultProxy

        proxy = FaultProxy(server.address)
        self.addCleanup(proxy.close)
        client = ilre.Client(proxy.address, retry=ilre.RetryPolicy(max_attempts=200, max_delay=0.2))
        self.addCleanup(client.close)
        ingest = self.start_ingest(client)
        self.assertEqual(server.terminate(), 0)
        self.go_on.set()
        proxy.backend = self.services.start("serve").address
        self.assertEqual(ingest.result().committed_bytes, len(TEXT))

    def test_the_separate_services(self) -> None:
        encoder = self.services.start("encoder")
        self.client(encoder).ingest("d", TEXT[:20_000])
        retriever = self.services.start("retriever")
        generator = self.services.start("generator", "--retriever", retriever.address)
        self.assertTrue(self.client(generator).ask(QUESTION, "d", max_tokens=3).result().text)
        for server in (generator, retriever, encoder):
            self.assertEqual(server.terminate(), 0, server.log())
        idle = self.services.start("serve")
        idle.process.send_signal(signal.SIGINT)
        self.assertEqual(idle.wait(), 0)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main()
