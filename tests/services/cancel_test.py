#!/usr/bin/env python3
"""Calls that are cancelled or run out of time at random moments: no other status than that, nothing runs on, counters
show that the work stopped, and the server answers as before.

Usage: cancel_test.py FOLDER_OF_PROGRAMS [--calls N] [--seed N]
scripts/cancel-under-sanitizers runs it with many calls on servers built with the thread and the address sanitizer.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import http.client
import itertools
import json
import random
import sys
import time

import golden
import grpc
import grpc.aio
import ilre
from ilre.v1 import encoder_pb2, encoder_pb2_grpc, generator_pb2, generator_pb2_grpc, retriever_pb2, retriever_pb2_grpc
from servers import PATIENCE_S, Server, Services, made_up_text, wait_for

Code = grpc.StatusCode
AT_ONCE = 12
LONG = 4000  # tokens of an answer that is left early
EXPECTED = {Code.OK, Code.CANCELLED, Code.DEADLINE_EXCEEDED}
TEXT = made_up_text(400_000).encode("ascii", errors="replace")  # may be cut anywhere
GOLDEN = "collections/default/documents/golden"


class Ingest:
    """A blocking call: grpc.aio hides a status that comes while it writes (github.com/grpc/grpc/issues/36066)."""

    def __init__(self, call) -> None:
        self._call = call

    def cancel(self) -> None:
        self._call.cancel()

    def finish(self) -> tuple[Code, str]:
        try:
            for _ in self._call:
                pass
        except grpc.RpcError:
            pass
        return self._call.code(), self._call.details()


class RandomCalls:
    """Many calls at once; each ends early, one way or another, unless it is done before."""

    def __init__(self, address: str, generator: random.Random, longest_s: float) -> None:
        """longest_s: before a call is left; most are left much earlier."""
        self._longest_s = longest_s
        self._generator = generator
        self._channel = grpc.aio.insecure_channel(address)
        self._blocking_channel = grpc.insecure_channel(address)
        self._encoder = encoder_pb2_grpc.EncoderStub(self._blocking_channel)
        self._retriever = retriever_pb2_grpc.RetrieverStub(self._channel)
        self._answerer = generator_pb2_grpc.GeneratorStub(self._channel)
        self._numbers = itertools.count()
        self.codes: collections.Counter = collections.Counter()
        self.left_answers = 0

    async def run(self, count: int) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with places:
                await self._one()

        await asyncio.gather(*(one() for _ in range(count)))
        await self._channel.close()
        self._blocking_channel.close()

    async def _one(self) -> None:
        generator = self._generator
        begin = generator.choice((self._ask, self._retrieve, self._score, self._ingest))
        patience = generator.random() ** 3 * self._longest_s
        by_deadline = generator.random() < 0.5
        call = begin(patience if by_deadline else 60)
        task = asyncio.ensure_future(self._finish(call))
        if not by_deadline:
            await asyncio.sleep(patience)
            call.cancel()
        code = await task
        self.codes[code] += 1
        self.left_answers += begin == self._ask and code != Code.OK

    async def _finish(self, call) -> Code:
        if isinstance(call, Ingest):
            code, details = await asyncio.to_thread(call.finish)
        else:
            try:
                if hasattr(call, "read"):
                    while await call.read() is not grpc.aio.EOF:
                        pass
                else:
                    await call
            except (grpc.RpcError, asyncio.CancelledError):
                pass
            code, details = await call.code(), await call.details()
        if code not in EXPECTED:
            print(f"{code}: {details}", file=sys.stderr)
        return code

    def _ask(self, timeout: float):
        request = generator_pb2.GenerateRequest(names=[GOLDEN], question=golden.QUESTION, max_tokens=200)
        return self._answerer.Generate(request, timeout=timeout)

    def _retrieve(self, timeout: float):
        request = retriever_pb2.RetrieveRequest(names=[GOLDEN], question=golden.QUESTION)
        return self._retriever.Retrieve(request, timeout=timeout)

    def _score(self, timeout: float):
        return self._retriever.ScoreDocument(
            retriever_pb2.ScoreDocumentRequest(name=GOLDEN, question=golden.QUESTION), timeout=timeout
        )

    def _ingest(self, timeout: float):
        name = f"collections/cancelled/documents/d{next(self._numbers)}"
        size = self._generator.randrange(1000, 60_000)

        def messages():
            for begin in range(0, size, 4000):
                data, last = TEXT[begin : min(size, begin + 4000)], begin + 4000 >= size
                message = encoder_pb2.IngestDocumentRequest(write_offset=begin, data=data, finish_write=last)
                if not begin:
                    message.name = name
                yield message

        return Ingest(self._encoder.IngestDocument(messages(), timeout=timeout))


STORY = "Tell a very long story."


def leave_an_answer(server: Server) -> int:
    """-> pieces of text seen before"""
    with ilre.Client(server.address) as client:
        stream = client.ask(STORY, "d", max_tokens=LONG, instruction="")
        seen = sum(isinstance(event, ilre.Text) for event, _ in zip(stream, range(6)))
        stream.close()
    return seen


def leave_an_answer_over_http(server: Server) -> int:
    """-> pieces of text seen before"""
    request = {"names": ["collections/default/documents/d"], "question": STORY, "maxTokens": LONG, "instruction": ""}
    connection = http.client.HTTPConnection(server.http, timeout=PATIENCE_S)
    connection.request("POST", "/v1/documents:generate", json.dumps(request))
    response = connection.getresponse()
    seen = sum("text" in json.loads(response.readline()) for _ in range(6))
    response.close()
    connection.close()
    return seen


def check_that_answers_stop(programs: str) -> list[tuple[int, int]]:
    """Leaves long answers of the default model (a tiny one is done too soon), over gRPC and over HTTP.
    -> for each: steps of the model, pieces of text seen"""
    services = Services(programs, real_model=True)
    results = []
    try:
        server = services.start("serve")
        with ilre.Client(server.address) as client:
            client.ingest("d", TEXT[:2000])
        for leave in (leave_an_answer, leave_an_answer_over_http):
            before = server.metric("ilre_model_steps_total")
            seen = leave(server)
            assert seen, "no text came"
            server.wait_until_idle()
            steps = int(server.metric("ilre_model_steps_total") - before)
            assert 0 < steps < LONG / 2, f"the model ran {steps} steps, {seen} pieces of text were wanted"
            assert stable(server, "ilre_model_steps_total"), "the model runs for nobody"
            results.append((steps, seen))
        assert server.metric("ilre_tokens_after_cancel_total") <= len(results)
        assert server.terminate() == 0
    finally:
        services.close()
    return results


def check_that_ingests_stop(server: Server) -> tuple[int, int]:
    """Cancels a large ingest at its first acknowledgement. -> tokens that became durable, tokens of the whole text"""

    class Enough(Exception):
        pass

    def stop(progress: ilre.IngestProgress) -> None:
        raise Enough

    text = TEXT * 20
    before = server.metric("ilre_ingested_tokens_total")
    with ilre.Client(server.address) as client:
        try:
            client.ingest("cancelled/large", text, on_progress=stop)
            raise AssertionError("nothing was acknowledged before the end")
        except Enough:
            pass
        server.wait_until_idle()
        wait_for("the ingest has ended", lambda: stable(server, "ilre_ingested_tokens_total"))
        tokens = server.metric("ilre_ingested_tokens_total") - before
        status = client.get_ingest_status("cancelled/large")
        assert status.document.state == ilre.DocumentState.INGESTING, status
        assert status.committed_bytes < len(text) // 2, f"{status.committed_bytes} of {len(text)} bytes were read on"
        client.delete_document("cancelled/large")
    return int(tokens), len(text)


def stable(server: Server, metric: str) -> bool:
    value = server.metric(metric)
    return all(server.metric(metric) == value for _ in range(20))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("programs")
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    services = Services(arguments.programs)
    try:
        server = services.start("serve", "--max-waiting", "1000", "--max-ingests", "1000")
        with ilre.Client(server.address) as client:
            known = golden.Golden(client)
            begin = time.monotonic()
            known.check(client)
            longest_s = max(0.3, 3 * (time.monotonic() - begin))  # some calls are done before, however slow the server is

            async def run() -> RandomCalls:
                calls = RandomCalls(server.address, random.Random(arguments.seed), longest_s)
                await calls.run(arguments.calls)
                return calls

            calls = asyncio.run(run())
            codes = calls.codes
            assert sum(codes.values()) == arguments.calls
            assert set(codes) <= EXPECTED, codes
            server.wait_until_idle()
            after_cancel = server.metric("ilre_tokens_after_cancel_total")
            assert after_cancel <= calls.left_answers, f"{after_cancel} tokens for {calls.left_answers} left answers"
            known.check(client)
            assert all(d.state != ilre.DocumentState.FAILED for d in client.list_documents())
            ingested, whole = check_that_ingests_stop(server)
            known.check(client)
        status = server.terminate()
        assert status == 0, f"exit status {status}: {server.log()}"
        log = server.log_path.read_text(errors="replace")
        assert "Sanitizer" not in log, log[-20_000:]
    except BaseException:
        print(services.logs(), file=sys.stderr)
        raise
    finally:
        services.close()
    answers = check_that_answers_stop(arguments.programs)
    said = ", ".join(f"{code.name} {number}" for code, number in codes.most_common())
    print(f"{arguments.calls} calls (seed {arguments.seed}): {said}")
    print(f"{calls.left_answers} left answers: {after_cancel:.0f} tokens were run after they were left")
    for transport, (steps, seen) in zip(("gRPC", "HTTP"), answers):
        print(f"an answer of {LONG} tokens, left over {transport}: {steps} steps of the model, {seen} pieces of text seen")
    print(f"a left ingest of {whole} bytes: {ingested} tokens computed")


if __name__ == "__main__":
    main()
