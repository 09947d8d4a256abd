#!/usr/bin/env python3
"""The services as strangers and as our clients meet them: every method by reflection alone, health, metrics, errors
with their details, and the same spans and answer as `ilre ask` on the same store.

Usage: service_test.py FOLDER_OF_PROGRAMS [unittest arguments]
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import unittest

import built_client
import golden
import grpc
import ilre
from certificates import Certificates
from grpc_health.v1 import health_pb2, health_pb2_grpc
from reflected import Refusal, Reflected, plain
from servers import ROOT, Services, made_up_text, wait_for

PROGRAMS = ""
METHODS = {
    "Encoder/IngestDocument", "Encoder/GetIngestStatus", "Encoder/CreateDocument", "Encoder/GetDocument",
    "Encoder/ListDocuments", "Encoder/UpdateDocument", "Encoder/DeleteDocument", "Retriever/Retrieve",
    "Retriever/ScoreDocument", "Retriever/ReadText", "Generator/Generate",
}  # fmt: skip
DOCUMENT = "collections/default/documents/{}".format


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.services = Services(PROGRAMS)
        cls.addClassCleanup(cls.services.close)
        cls.server = cls.services.start("serve")
        cls.client = ilre.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)
        cls.golden = golden.Golden(cls.client)
        cls.reflected = Reflected(cls.server.address)
        cls.addClassCleanup(cls.reflected.close)

    def call(self, method: str, request, **options) -> list[dict]:
        return [plain(answer) for answer in self.reflected.call(method, request, **options)]

    def refused(self, method: str, request, **options) -> Refusal:
        with self.assertRaises(Refusal) as caught:
            self.reflected.call(method, request, **options)
        return caught.exception

    def test_what_there_is(self) -> None:
        self.assertEqual(set(self.reflected.methods()), METHODS)
        for service in ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"):
            self.assertIn(service, self.reflected.services())

    def test_a_documents_life_by_reflection_alone(self) -> None:
        name, text = DOCUMENT("reflected"), made_up_text(9_000).encode()
        created = self.call("Encoder/CreateDocument", {"parent": "collections/default", "document_id": "reflected"})
        self.assertEqual((created[0]["name"], created[0]["state"]), (name, "INGESTING"))
        messages = [{"name": name, "write_offset": "0", "data": ""}]
        request = self.reflected.methods()["Encoder/IngestDocument"]
        messages = []
        for begin in range(0, len(text), 4000):
            message = self.reflected.request(request, {"write_offset": str(begin)})
            message.data = text[begin : begin + 4000]
            message.flush = True
            messages.append(message)
        messages[0].name = name
        messages[-1].finish_write = True
        steps = self.call("Encoder/IngestDocument", messages)
        committed = [int(step.get("committed_bytes", 0)) for step in steps]
        self.assertEqual(committed, sorted(committed))
        self.assertEqual(committed[-1], len(text))
        self.assertEqual(steps[-1]["document"]["state"], "READY")
        status = self.call("Encoder/GetIngestStatus", {"name": name})[0]
        self.assertEqual(int(status["committed_bytes"]), len(text))
        document = self.call("Encoder/GetDocument", {"name": name})[0]
        self.assertEqual(document, status["document"])
        for fingerprint in ("model_fingerprint", "tokenizer_fingerprint", "profile_fingerprint"):
            self.assertRegex(document[fingerprint], "^[0-9a-f]{16}$")
        names = [d["name"] for d in self.call("Encoder/ListDocuments", {"parent": "collections/-"})[0]["documents"]]
        self.assertIn(name, names)
        self.assertEqual(names, sorted(names))

        expiry = {"document": {"name": name, "expire_time": "2100-01-01T00:00:00Z"}, "update_mask": "expireTime"}
        updated = self.reflected.call("Encoder/UpdateDocument", expiry)[0]
        self.assertEqual(updated.expire_time.seconds, 4102444800)
        self.assertNotEqual(updated.etag, document["etag"])

        recalled = self.call(
            "Retriever/Retrieve", {"names": [name], "question": "Which lamp?", "include_token_ids": True}
        )
        span = recalled[0]["spans"][0]
        self.assertEqual(span["document"], name)
        begin, end = int(span.get("byte_begin", 0)), int(span["byte_end"])
        self.assertEqual(span["text"], text[begin:end].decode(errors="replace"))
        self.assertEqual(len(span["token_ids"]), int(span["token_end"]) - int(span.get("token_begin", 0)))
        parts = self.call("Retriever/ScoreDocument", {"name": name, "question": "Which lamp?", "part_count": 16})[0][
            "parts"
        ]
        self.assertEqual(len(parts), 16)
        self.assertEqual(int(parts[-1]["byte_end"]), len(text))
        piece = self.call("Retriever/ReadText", {"name": name, "byte_begin": "0", "byte_count": 100})[0]
        self.assertTrue(text.decode().startswith(piece["text"]))
        self.assertEqual(int(piece["document_bytes"]), len(text))
        events = self.call("Generator/Generate", {"names": [name], "question": "Which lamp?", "max_tokens": 5})
        self.assertEqual([next(iter(event)) for event in (events[0], events[-1])], ["recall", "finish"])
        self.assertTrue(all(set(event) == {"text"} for event in events[1:-1]))
        self.assertEqual(events[0]["recall"]["spans"][0]["text"], span["text"])

        stale = self.refused("Encoder/DeleteDocument", {"name": name, "etag": document["etag"]})
        self.assertEqual((stale.code, stale.reason), (grpc.StatusCode.ABORTED, "ETAG_MISMATCH"))
        self.call("Encoder/DeleteDocument", {"name": name, "etag": updated.etag})
        gone = self.refused("Encoder/GetDocument", {"name": name})
        self.assertEqual((gone.code, gone.reason), (grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND"))
        self.assertEqual(gone.resource.resource_name, name)

    def test_errors_carry_details(self) -> None:
        golden_name, nowhere = DOCUMENT("golden"), DOCUMENT("nowhere")
        bad, missing, exists, outside = "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE"
        of_nowhere = {"names": [nowhere], "question": "Who?"}
        text, gap, binary = {"data": "eHh4"}, {"data": "eHh4", "write_offset": "9"}, {"data": "/////w=="}
        other_page = {"parent": "collections/-", "page_token": "?"}
        again = {"parent": "collections/default", "document_id": "golden"}
        for method, request, code, reason, field in [
            ("Encoder/GetDocument", {"name": "nonsense"}, bad, "", "name"),
            ("Encoder/GetDocument", {"name": nowhere}, missing, "DOCUMENT_NOT_FOUND", ""),
            ("Retriever/Retrieve", of_nowhere, missing, "DOCUMENT_NOT_FOUND", ""),
            ("Retriever/Retrieve", {"names": [golden_name]}, bad, "", "question"),
            ("Retriever/Retrieve", {"question": "Who?"}, bad, "", "names"),
            ("Retriever/ReadText", {"name": golden_name, "byte_begin": "999999999"}, outside, "", ""),
            ("Generator/Generate", of_nowhere, missing, "DOCUMENT_NOT_FOUND", ""),
            ("Generator/Generate", {"question": "Who?", "sampling": {"top_p": 2}}, bad, "", "sampling"),
            ("Encoder/ListDocuments", other_page, bad, "INVALID_PAGE_TOKEN", "page_token"),
            ("Encoder/CreateDocument", again, exists, "DOCUMENT_EXISTS", ""),
            ("Encoder/IngestDocument", text | {"name": golden_name}, exists, "CONTENT_DIFFERS", ""),
            ("Encoder/IngestDocument", gap | {"name": DOCUMENT("gap")}, outside, "OFFSET_GAP", ""),
            ("Encoder/IngestDocument", binary | {"name": DOCUMENT("bin")}, bad, "NOT_UTF8", ""),
            ("Encoder/IngestDocument", {"name": DOCUMENT("none"), "finish_write": True}, bad, "EMPTY_DOCUMENT", ""),
        ]:  # fmt: skip
            request = [request] if method == "Encoder/IngestDocument" else request
            with self.subTest(f"{method} {request}"):
                refusal = self.refused(method, request)
                self.assertEqual(refusal.code.name, code, refusal)
                self.assertEqual(refusal.info.domain, "ilre.io")
                self.assertEqual(refusal.status_code, refusal.code.value[0])
                self.assertTrue(refusal.reason)
                if reason:
                    self.assertEqual(refusal.reason, reason)
                if field:
                    violations = [violation.field for violation in refusal.bad_request.field_violations]
                    self.assertTrue(any(found.startswith(field) for found in violations), violations)
                self.golden.check(self.client, with_answer=False)

    def test_request_ids(self) -> None:
        method = self.reflected.channel.unary_unary("/ilre.v1.Encoder/GetDocument")
        for sent, wanted in [
            ("mine-1.a_B", "^mine-1.a_B$"),
            ("not one!", "^[A-Za-z0-9._-]{1,64}$"),
            (None, "^[A-Za-z0-9._-]{1,64}$"),
        ]:
            metadata = [("x-request-id", sent)] if sent else []
            with self.assertRaises(grpc.RpcError):
                call = method.with_call
                call(b"", timeout=60, metadata=metadata)
            future = method.future(b"", timeout=60, metadata=metadata)
            headers = dict(future.initial_metadata()) | dict(future.trailing_metadata() or ())
            self.assertRegex(headers.get("x-request-id", ""), wanted)
        with self.assertRaises(ilre.NotFoundError) as caught:
            self.client.get_document("nowhere", request_id="of-this-test")
        self.assertEqual(caught.exception.request_id, "of-this-test")

    def test_health(self) -> None:
        stub = health_pb2_grpc.HealthStub(self.reflected.channel)
        for service in ("", "ilre.v1.Encoder", "ilre.v1.Retriever", "ilre.v1.Generator"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        with self.assertRaises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="ilre.v1.Nonsense"), timeout=60)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="ilre.v1.Encoder"), timeout=60)
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        watch.cancel()
        for path in ("/healthz", "/readyz"):
            self.assertIsNotNone(self.server.get(path))

    def test_metrics(self) -> None:
        def counts() -> dict[str, float]:
            return {
                "asked": self.server.metric("ilre_requests_total", method="ilre.v1.Generator/Generate", code="OK"),
                "refused": self.server.metric(
                    "ilre_requests_total", method="ilre.v1.Encoder/GetDocument", code="NOT_FOUND"
                ),
                "decoded": self.server.metric("ilre_decoded_tokens_total"),
                "tokens": self.server.metric("ilre_ingested_tokens_total"),
                "first": self.server.metric("ilre_time_to_first_token_seconds_count"),
            }

        before = counts()
        answer = self.client.ask(golden.QUESTION, golden.NAME, max_tokens=7).result()
        document = self.client.ingest("metrics", made_up_text(5_000).encode())
        with self.assertRaises(ilre.NotFoundError):
            self.client.get_document("nowhere")
        wait_for("the call is counted", lambda: counts()["asked"] > before["asked"])
        gained = {key: value - before[key] for key, value in counts().items()}
        self.assertEqual(gained["asked"], 1)
        self.assertEqual(gained["refused"], 1)
        self.assertEqual(gained["decoded"], answer.answer_tokens)
        self.assertEqual(gained["tokens"], document.token_count)
        self.assertEqual(gained["first"], 1)
        self.assertEqual(self.server.metric("ilre_ready"), 1)
        self.assertGreater(self.server.metric("ilre_store_bytes"), 0)
        text = self.server.get("/metrics")
        for line in text.splitlines():
            self.assertRegex(
                line,
                r"^(# (HELP|TYPE) [a-z_:0-9]+ .*|[a-z_:0-9]+(\{.*\})? [-+0-9.e]+|[a-z_:0-9]+(\{.*\})? \+?(Inf|NaN))$",
            )

    def test_the_server_answers_as_the_command_line(self) -> None:
        store = Services(PROGRAMS)
        self.addCleanup(store.close)
        path = store.ilre.file("d.txt", golden.TEXT)
        for name in ("d", "e"):
            self.assertEqual(store.ilre.run("ingest", name, path).returncode, 0)
        asked = store.ilre.run("ask", "d", "e", golden.QUESTION, "--json", "--max-tokens", "16", "--budget", "90")
        wanted = json.loads(asked.stdout)
        server = store.start("serve")
        with ilre.Client(server.address) as client:
            answer = client.ask(golden.QUESTION, ["d", "e"], max_tokens=16, budget=90).result()
            recalled = client.retrieve(golden.QUESTION, ["d", "e"], budget=90)
        self.assertEqual(answer.text, wanted["answer"])
        self.assertEqual(
            (answer.prompt_tokens, answer.answer_tokens), (wanted["prompt_tokens"], wanted["answer_tokens"])
        )
        fields = ("token_begin", "token_end", "byte_begin", "byte_end", "in_prompt", "text")
        for spans in (answer.spans, recalled.spans):
            self.assertEqual(len(spans), len(wanted["spans"]))
            for span, other in zip(spans, wanted["spans"]):
                self.assertEqual([getattr(span, field) for field in fields], [other[field] for field in fields])
                self.assertEqual(span.document, DOCUMENT(other["document"].split("/")[1]))
                self.assertAlmostEqual(span.score, other["score"], places=4)

    def test_the_command_line_over_the_server(self) -> None:
        if b"--server" not in subprocess.run([f"{PROGRAMS}/ilre", "--help"], capture_output=True, check=True).stdout:
            self.skipTest("this ilre has no --server")
        local, path = self.services.ilre, self.services.ilre.file("cli.txt", made_up_text(4_000))
        flags = ("--server", self.server.address)
        done = local.run("ingest", "from-cli", path, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.client.get_document("from-cli").state, ilre.DocumentState.READY)
        asked = local.run("ask", golden.NAME, golden.QUESTION, "--json", "--max-tokens", str(golden.MAX_TOKENS), *flags)
        self.assertEqual(asked.returncode, 0, asked.stderr)
        self.assertEqual(json.loads(asked.stdout)["answer"], self.golden.answer["text"])

    def test_a_collection_and_pages(self) -> None:
        for number in range(5):
            self.client.ingest(f"pages/d{number}", made_up_text(500, seed=number).encode())
        names = [document.name for document in self.client.list_documents("pages", page_size=2)]
        self.assertEqual(names, [f"collections/pages/documents/d{number}" for number in range(5)])
        recalled = self.client.retrieve(golden.QUESTION, "pages/-")
        self.assertEqual(recalled.document_count, 5)
        self.client.delete_document("pages/d0")
        self.assertEqual(self.client.retrieve(golden.QUESTION, "pages/-").document_count, 4)

    def test_clients_side_by_side(self) -> None:
        wanted, failures = self.golden.answer["text"], []

        def ask() -> None:
            try:
                for _ in range(3):
                    text = self.client.ask(golden.QUESTION, golden.NAME, max_tokens=golden.MAX_TOKENS).result().text
                    assert text == wanted, text
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

        async def ask_together() -> list[str]:
            async with ilre.AsyncClient(self.server.address) as client:
                await client.ingest("async", made_up_text(2_000).encode())
                asked = [client.ask(golden.QUESTION, golden.NAME, max_tokens=golden.MAX_TOKENS) for _ in range(4)]
                return [answer.text for answer in await asyncio.gather(*(each.result() for each in asked))]

        self.assertEqual(asyncio.run(ask_together()), [wanted] * 4)

    def test_examples(self) -> None:
        path = self.services.ilre.file("example.txt", golden.TEXT)
        arguments = [path, golden.QUESTION, "--server", self.server.address, "--max-tokens", str(golden.MAX_TOKENS)]
        python = [sys.executable, str(ROOT / "clients/python/examples/ask_document.py")]
        javascript = ["node", str(ROOT / "clients/node/examples/ask-document.js")]
        for number, command in enumerate((python, javascript)):
            with self.subTest(command[0]):
                done = subprocess.run(
                    [*command, *arguments, "--name", f"example-{number}"],
                    capture_output=True,
                    env=os.environ | {"PYTHONPATH": str(built_client.BUILT)},
                    timeout=300,
                    check=False,
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(self.golden.answer["text"].encode(), done.stdout)
                self.assertIn(b"tokens", done.stderr)

    def test_the_javascript_client(self) -> None:
        script = pathlib.Path(__file__).parent / "real_server.mjs"
        path = self.services.ilre.file("javascript.txt", golden.TEXT)
        done = subprocess.run(
            ["node", script, self.server.address, path], capture_output=True, text=True, timeout=300, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(said["answer"], self.golden.answer["text"])
        self.assertEqual(said["spans"], [span["text"] for span in self.golden.recalled["spans"]])
        self.assertEqual(said["error"], {"code": "NOT_FOUND", "reason": "DOCUMENT_NOT_FOUND"})


class TlsTest(unittest.TestCase):
    """TLS, client certificates and tokens together; and a generator that has to show its own to the retriever."""

    def setUp(self) -> None:
        self.services = Services(PROGRAMS)
        self.addCleanup(self.services.close)
        self.files = Certificates(self.services.folder)
        tokens = self.services.folder / "tokens"
        tokens.write_text("alice the-token\n")
        path = self.files.path
        self.flags = [
            *("--tls-cert", path("server.crt"), "--tls-key", path("server.key"), "--tls-client-ca", path("ca.crt")),
            *("--tokens-file", str(tokens)),
        ]

    def client(self, server, name: str = "client", **options) -> ilre.Client:
        path = self.files.path
        tls = ilre.Tls(path("ca.crt"), path(f"{name}.crt"), path(f"{name}.key"))
        options = {"token": "the-token", "retry": ilre.NO_RETRIES} | options
        client = ilre.Client(server.address, tls=tls, **options)
        self.addCleanup(client.close)
        return client

    def test_both_sides_show_who_they_are(self) -> None:
        server = self.services.start("serve", *self.flags)
        client = self.client(server)
        client.ingest("d", golden.TEXT.encode())
        wanted = client.ask(golden.QUESTION, "d", max_tokens=4).result().text
        with self.assertRaises(ilre.UnauthenticatedError):
            self.client(server, token="another").get_document("d")
        for stranger in (
            self.client(server, "stranger"),
            ilre.Client(
                server.address, token="the-token", tls=ilre.Tls(self.files.path("ca.crt")), retry=ilre.NO_RETRIES
            ),
            ilre.Client(server.address, token="the-token", retry=ilre.NO_RETRIES),
        ):
            with stranger, self.assertRaises((ilre.UnavailableError, ilre.DeadlineExceededError)):
                stranger.get_document("d", timeout=30)
        script = """
            import { Client } from './src/index.js';
            const [address, ca, certificate, key] = process.argv.slice(1);
            const tls = { ca, certificate, key, serverName: 'localhost' };
            const client = new Client(address, { tls, token: 'the-token' });
            console.log((await client.ask(%s, 'd', { maxTokens: 4 }).result()).text);
            client.close();
        """ % json.dumps(golden.QUESTION)
        names = [self.files.path(name) for name in ("ca.crt", "client.crt", "client.key")]
        done = subprocess.run(
            ["node", "--input-type=module", "-e", script, server.address, *names],
            cwd=ROOT / "clients/node", capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        self.assertEqual(done.stdout, wanted + "\n")

    def test_a_generator_shows_its_certificate_and_passes_the_token_on(self) -> None:
        encoder = self.services.start("encoder", *self.flags)
        retriever = self.services.start("retriever", *self.flags)
        path = self.files.path
        towards = (
            "--retriever-ca",
            path("ca.crt"),
            "--retriever-cert",
            path("client.crt"),
            "--retriever-key",
            path("client.key"),
        )
        generator = self.services.start("generator", "--retriever", retriever.address, *towards, *self.flags)
        self.client(encoder).ingest("d", golden.TEXT.encode())
        client = self.client(generator, retry=None)
        wait_for("the retriever sees the document", lambda: self.seen(retriever))
        answer = client.ask(golden.QUESTION, "d", max_tokens=4).result()
        self.assertTrue(answer.spans)
        self.assertEqual(answer.spans[0].document, DOCUMENT("d"))

    def seen(self, retriever) -> bool:
        try:
            return bool(self.client(retriever).retrieve(golden.QUESTION, "d").spans)
        except (ilre.NotFoundError, ilre.FailedPreconditionError):
            return False


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main()
