#!/usr/bin/env python3
"""The deployment's shape for real: one encoder, two retrievers and two generators, each a host of its own network, one
shared folder, HAProxy in front. Services are killed and restarted under it.

Usage: deployment_test.py FOLDER_OF_PROGRAMS [unittest arguments]. Needs root, ip and haproxy; else it is skipped (77).
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from cluster import PATIENCE_S, ROOT, TOKEN, Cluster  # noqa: E402
from ilre_cli import made_up_text  # noqa: E402
from network import Network, Unavailable  # noqa: E402

PROGRAMS = pathlib.Path()
TRIES = 200  # of what must happen sooner or later when calls are spread
CHUNK = 4096
AHEAD = 8 * CHUNK
AGAIN = ("UNAVAILABLE", "CANCELLED")  # the latter where the proxy breaks a stream off
FORKS: list[int] = []  # of this process, in which gRPC runs (see DIE_WITH_PARENT)
os.register_at_fork(before=lambda: FORKS.append(len(FORKS)))


def generate_stubs(folder: pathlib.Path) -> None:
    protos = ROOT / "protos"
    files = [str(path) for path in sorted((protos / "ilre" / "v1").glob("*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={folder}"]
    subprocess.run([*command, f"--grpc_python_out={folder}", *files], check=True)
    sys.path.insert(0, str(folder))


class Client:
    """Speaks to the proxy as a well-behaved client does: deadlines on everything, and again what is UNAVAILABLE."""

    def __init__(self, cluster: Cluster):
        import grpc
        from ilre.v1 import encoder_pb2, encoder_pb2_grpc, generator_pb2, generator_pb2_grpc
        from ilre.v1 import retriever_pb2, retriever_pb2_grpc

        self.grpc, self.cluster = grpc, cluster
        self.encoder_pb2, self.retriever_pb2, self.generator_pb2 = encoder_pb2, retriever_pb2, generator_pb2
        self.metadata = (("authorization", f"Bearer {TOKEN}"),)
        self.encoder = encoder_pb2_grpc.EncoderStub(self.channel("proxy", 50051))
        self.retriever = retriever_pb2_grpc.RetrieverStub(self.channel("proxy", 50052))
        self.generator = generator_pb2_grpc.GeneratorStub(self.channel("proxy", 50053))
        self.direct = {
            host: retriever_pb2_grpc.RetrieverStub(self.channel(host, 50051)) for host in ("retriever1", "retriever2")
        }

    def channel(self, host: str, port: int):
        # A server that was killed is tried again soon.
        options = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
        return self.grpc.insecure_channel(f"{self.cluster.address(host)}:{port}", options)

    def again(self, call, codes=AGAIN):
        """Calls until it succeeds or fails with another code."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return call()
            except self.grpc.RpcError as error:
                if error.code().name not in codes or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def ingest(self, name: str, text: bytes, offset: int = 0, acknowledged=lambda committed: None):
        """One call, which may fail; never much ahead of what was acknowledged. -> the last answer"""
        committed, changed, over = offset, threading.Condition(), False

        def messages():
            for begin in range(offset, len(text), CHUNK):
                with changed:
                    changed.wait_for(lambda: over or begin - committed <= AHEAD, PATIENCE_S)  # noqa: B023
                yield self.encoder_pb2.IngestDocumentRequest(
                    name=name,
                    write_offset=begin,
                    data=text[begin : begin + CHUNK],
                    flush=True,
                    finish_write=begin + CHUNK >= len(text),
                )

        progress = None
        try:
            for progress in self.encoder.IngestDocument(messages(), metadata=self.metadata, timeout=PATIENCE_S):
                acknowledged(progress.committed_bytes)
                with changed:
                    committed = progress.committed_bytes
                    changed.notify()
        finally:
            with changed:
                over = True
                changed.notify()
        return progress

    def status(self, name: str):
        request = self.encoder_pb2.GetIngestStatusRequest(name=name)
        return self.again(
            lambda: self.encoder.GetIngestStatus(request, metadata=self.metadata, timeout=PATIENCE_S)
        )

    def retrieve(self, stub, name: str, question: str) -> list:
        """-> (token_begin, token_end, score) of the spans, as soon as the document is visible"""
        request = self.retriever_pb2.RetrieveRequest(names=[name], question=question)
        call = lambda: stub.Retrieve(request, metadata=self.metadata, timeout=PATIENCE_S)  # noqa: E731
        answer = self.again(call, (*AGAIN, "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED"))
        return [(span.token_begin, span.token_end, span.score) for span in answer.spans]

    def ask(self, name: str, question: str) -> tuple:
        """-> (text, finish reason, tokens)"""
        request = self.generator_pb2.GenerateRequest(names=[name], question=question, max_tokens=8)

        def call():
            text, finish = "", None
            for event in self.generator.Generate(request, metadata=self.metadata, timeout=PATIENCE_S):
                text += event.text
                finish = event.finish if event.HasField("finish") else finish
            return text, finish.reason, finish.answer_tokens

        return self.again(call)


class DeploymentTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ilre-deployment-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "stubs").mkdir()
        generate_stubs(self.folder / "stubs")
        self.cluster = Cluster(PROGRAMS, self.folder)
        self.addCleanup(self.cluster.close)
        self.addCleanup(self.show_logs)
        self.name = "collections/books/documents/first"
        self.question = "who crossed the river"

    def show_logs(self):
        if any(error for _, error in self._outcome.result.failures + self._outcome.result.errors):
            print(self.cluster.logs(), file=sys.stderr)

    def test_deployment(self):
        for host in ("encoder", "retriever1", "retriever2", "generator1", "generator2"):
            self.cluster.start(host)
        self.cluster.start_proxy()
        self.client = Client(self.cluster)
        steps = (
            self.a_document_is_read_and_seen_by_all,
            self.strangers_are_refused,
            self.both_of_each_are_used,
            self.a_second_encoder_is_refused,
            self.a_retriever_dies,
            self.a_generator_dies,
            self.the_encoder_dies_in_mid_ingest,
            self.all_end_well,
        )
        for step in steps:
            begin = time.monotonic()
            step()
            print(f"{step.__name__}: {time.monotonic() - begin:.1f} s", flush=True)

    def a_document_is_read_and_seen_by_all(self):
        text = made_up_text(20_000).encode()
        progress = self.client.again(lambda: self.client.ingest(self.name, text))
        self.assertEqual(progress.committed_bytes, len(text))
        self.assertEqual(progress.document.name, self.name)
        self.spans = self.client.retrieve(self.client.retriever, self.name, self.question)
        self.assertTrue(self.spans)
        for host, stub in self.client.direct.items():
            self.assertEqual(self.client.retrieve(stub, self.name, self.question), self.spans, host)
        self.answer = self.client.ask(self.name, self.question)

    def strangers_are_refused(self):
        client = Client(self.cluster)
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            client.metadata = metadata
            with self.assertRaises(client.grpc.RpcError) as caught:
                client.ask(self.name, self.question)
            self.assertEqual(caught.exception.code().name, "UNAUTHENTICATED")

    def an_answer_is_right(self):
        self.assertEqual(self.client.ask(self.name, self.question), self.answer)

    def spans_are_right(self):
        self.assertEqual(self.client.retrieve(self.client.retriever, self.name, self.question), self.spans)

    def answers_go_on(self):
        for _ in range(4):
            self.an_answer_is_right()
            self.spans_are_right()

    def all_are_used(self, hosts: tuple[str, ...], method: str, call):
        before = {host: self.cluster.calls(host, method) for host in hosts}
        for _ in range(TRIES):
            call()
            if all(self.cluster.calls(host, method) > before[host] for host in hosts):
                return
        self.fail(f"{method}: not all of {hosts} are used: {before}")

    def both_of_each_are_used(self):
        self.all_are_used(("generator1", "generator2"), "Generate", self.an_answer_is_right)
        self.all_are_used(("retriever1", "retriever2"), "Retrieve", self.an_answer_is_right)
        self.all_are_used(("retriever1", "retriever2"), "Retrieve", self.spans_are_right)  # without a generator

    def a_second_encoder_is_refused(self):
        process = self.cluster.launch("spare", self.cluster.command("spare", "encoder"))
        self.assertEqual(process.wait(PATIENCE_S), 1, self.cluster.log("spare"))
        self.cluster.processes.pop("spare")
        self.assertIn("in use by another process", self.cluster.log("spare"))
        self.assertEqual(self.client.status(self.name).document.name, self.name)

    def a_retriever_dies(self):
        self.cluster.kill("retriever1")
        self.answers_go_on()
        self.cluster.start("retriever1")
        self.all_are_used(("retriever1", "retriever2"), "Retrieve", self.an_answer_is_right)

    def a_generator_dies(self):
        self.cluster.kill("generator1")
        self.answers_go_on()
        self.cluster.start("generator1")
        self.all_are_used(("generator1", "generator2"), "Generate", self.an_answer_is_right)

    def the_encoder_dies_in_mid_ingest(self):
        name, text = "collections/books/documents/second", made_up_text(100_000).encode()
        acknowledged = []

        def kill_after_some(committed: int):
            acknowledged.append(committed)
            if committed > len(text) // 4 and "encoder" in self.cluster.processes:
                self.cluster.kill("encoder")

        with self.assertRaises(self.client.grpc.RpcError):
            self.client.ingest(name, text, acknowledged=kill_after_some)
        self.assertNotIn("encoder", self.cluster.processes)
        self.answers_go_on()  # without an encoder
        self.cluster.start("encoder")
        committed = self.client.status(name).committed_bytes
        self.assertGreaterEqual(committed, acknowledged[-1])
        self.assertLess(committed, len(text))
        # The proxy may have to learn first that the encoder is back.
        progress = self.client.again(lambda: self.client.ingest(name, text, committed))
        self.assertEqual(progress.committed_bytes, len(text))
        first, second = (
            self.client.retrieve(stub, name, self.question) for stub in self.client.direct.values()
        )
        self.assertTrue(first)
        self.assertEqual(first, second)
        self.answers_go_on()

    def all_end_well(self):
        for host in ("generator1", "generator2", "retriever1", "retriever2", "encoder"):
            self.assertEqual(self.cluster.terminate(host), 0, f"{host}: {self.cluster.log(host)}")
        self.assertEqual(FORKS, [], "gRPC may abort a child before it is another program")


def reason_to_skip() -> str:
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("haproxy"):
        return "needs root, ip and haproxy (scripts/setup --for-tests)"
    try:
        with tempfile.TemporaryDirectory() as folder:
            Network(pathlib.Path(folder)).close()
    except Unavailable as error:
        return str(error)
    return ""


if __name__ == "__main__":
    PROGRAMS = pathlib.Path(sys.argv.pop(1)).resolve()
    if reason := reason_to_skip():
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main()
