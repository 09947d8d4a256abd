#!/usr/bin/env python3
"""A proxy resets, delays, half-closes or silences connections at each frame of a call, between client and server and
between generator and retriever: the fault-free result, or a status that says to try again, and never a hang past the
deadline. With tries, always the fault-free result.

Usage: proxy_test.py FOLDER_OF_PROGRAMS [unittest arguments]
"""

from __future__ import annotations

import sys
import time
import unittest
from collections.abc import Callable
from typing import Any

import golden
import ilre
from fault_proxy import Fault, FaultProxy
from servers import PATIENCE_S, Services, made_up_text

PROGRAMS = ""
TEXT = made_up_text(9_000, seed=5).encode()
DEADLINE_S = 1.5  # of calls over a silent connection
PATIENT = ilre.RetryPolicy(first_delay=0.02, max_delay=0.2, max_attempts=30)


class ProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.services = Services(PROGRAMS)
        cls.addClassCleanup(cls.services.close)
        cls.server = cls.services.start("serve")
        cls.direct = ilre.Client(cls.server.address)
        cls.addClassCleanup(cls.direct.close)
        cls.golden = golden.Golden(cls.direct)

    def proxy(self, backend: str) -> FaultProxy:
        proxy = FaultProxy(backend)
        self.addCleanup(proxy.close)
        return proxy

    # What is called. Each returns what must be the same with and without faults.

    def retrieve(self, client: ilre.Client) -> Any:
        return golden.plain(client.retrieve(golden.QUESTION, golden.NAME, timeout=PATIENCE_S))

    def ask(self, client: ilre.Client) -> Any:
        return golden.plain(client.ask(golden.QUESTION, golden.NAME, max_tokens=3, timeout=PATIENCE_S).result())

    def ingest(self, client: ilre.Client) -> Any:
        document = client.ingest("proxied", TEXT, chunk_bytes=4000, timeout=PATIENCE_S)
        found = (document.state, document.committed_bytes, document.token_count)
        text = self.direct.read_text("proxied", 0, 1 << 20).text
        self.direct.delete_document("proxied")
        self.assertEqual(text.encode(), TEXT)
        return found

    def faults(self, proxy: FaultProxy, call: Callable[[ilre.Client], Any], actions: tuple[str, ...]) -> list[Fault]:
        """One for each frame that the call has without faults."""
        proxy.arm(None)
        with ilre.Client(proxy.address) as client:
            call(client)
        return [
            Fault(direction, index, action, seconds=0.2)
            for direction in ("up", "down")
            for index in range(proxy.seen[direction])
            for action in actions
        ]

    def check_with_tries(self, call: Callable[[ilre.Client], Any]) -> None:
        proxy = self.proxy(self.server.address)
        wanted = call(self.direct)
        struck = 0
        for fault in self.faults(proxy, call, ("reset", "half-close", "delay")):
            with self.subTest(fault):
                proxy.arm(fault)
                with ilre.Client(proxy.address, retry=PATIENT) as client:
                    self.assertEqual(call(client), wanted)
                struck += proxy.struck
        self.assertGreater(struck, 10)
        self.golden.check(self.direct)

    def test_searches(self) -> None:
        self.check_with_tries(self.retrieve)

    def test_ingests(self) -> None:
        self.check_with_tries(self.ingest)

    def test_answers(self) -> None:
        """An answer is not begun anew once a part of it has come: then the status has to say that another try helps."""
        proxy = self.proxy(self.server.address)
        wanted = self.ask(self.direct)
        for fault in self.faults(proxy, self.ask, ("reset", "half-close", "delay")):
            with self.subTest(fault):
                proxy.arm(fault)
                with ilre.Client(proxy.address, retry=PATIENT) as client:
                    try:
                        self.assertEqual(self.ask(client), wanted)
                    except ilre.UnavailableError:
                        self.assertTrue(proxy.struck)
                        self.assertEqual(self.ask(client), wanted)
        self.golden.check(self.direct)

    def test_silence_ends_at_the_deadline(self) -> None:
        proxy = self.proxy(self.server.address)
        calls: dict[str, Callable[[ilre.Client], Any]] = {
            "retrieve": lambda client: client.retrieve(golden.QUESTION, golden.NAME, timeout=DEADLINE_S),
            "ask": lambda client: client.ask(golden.QUESTION, golden.NAME, max_tokens=3, timeout=DEADLINE_S).result(),
            "ingest": lambda client: client.ingest("silent", TEXT, chunk_bytes=4000, timeout=DEADLINE_S),
        }
        for name, call in calls.items():
            for direction in ("up", "down"):
                with self.subTest(f"{name} {direction}"):
                    proxy.arm(Fault(direction, 1, "silence"))
                    start = time.monotonic()
                    with ilre.Client(proxy.address) as client, self.assertRaises(ilre.DeadlineExceededError):
                        call(client)
                    self.assertLess(time.monotonic() - start, DEADLINE_S + PATIENCE_S)
                    proxy.cut()
        self.server.wait_until_idle()
        self.golden.check(self.direct)

    def test_between_generator_and_retriever(self) -> None:
        proxy = self.proxy(self.server.address)
        generator = self.services.start("generator", "--retriever", proxy.address)
        wanted = self.ask(self.direct)
        with ilre.Client(generator.address, retry=PATIENT) as client:
            self.assertEqual(self.ask(client), wanted)
            proxy.arm(None)
            self.ask(client)
            seen = dict(proxy.seen)
            self.assertGreaterEqual(min(seen.values()), 2)
            struck = 0
            for direction, frames in seen.items():
                for index in range(frames):
                    for action in ("reset", "half-close", "delay"):
                        with self.subTest(f"{direction} {index} {action}"):
                            proxy.arm(Fault(direction, index, action, seconds=0.2))
                            self.assertEqual(self.ask(client), wanted)
                            struck += proxy.struck
            self.assertGreater(struck, 8)
            proxy.arm(Fault("down", 0, "silence"))
            with self.assertRaises((ilre.DeadlineExceededError, ilre.UnavailableError)):
                client.ask(golden.QUESTION, golden.NAME, max_tokens=3, timeout=DEADLINE_S).result()
            proxy.arm(None)
            proxy.cut()
            self.assertEqual(self.ask(client), wanted)
        generator.wait_until_idle()
        self.assertEqual(generator.terminate(), 0)

    def test_a_retriever_that_is_not_there(self) -> None:
        generator = self.services.start("generator", "--retriever", "127.0.0.1:1")
        with ilre.Client(generator.address, retry=ilre.NO_RETRIES) as client:
            with self.assertRaises((ilre.UnavailableError, ilre.DeadlineExceededError)):
                client.ask(golden.QUESTION, golden.NAME, max_tokens=3, timeout=DEADLINE_S).result()
            self.assertTrue(client.ask(golden.QUESTION, max_tokens=3).result().text)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main()
