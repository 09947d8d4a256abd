#!/usr/bin/env python3
"""A request with any field at any bad value gets a documented error (or a right answer), the server lives, and the next
good question is answered as before.

Usage: fields_test.py FOLDER_OF_PROGRAMS [unittest arguments]
"""

from __future__ import annotations

import itertools
import sys
import unittest

import bad_values
import golden
import grpc
import ilre
from reflected import Refusal, Reflected
from servers import Services

PROGRAMS = ""
Code = grpc.StatusCode
DOCUMENTED = {
    Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE,
    Code.ABORTED, Code.RESOURCE_EXHAUSTED,
}  # fmt: skip
GOLDEN = "collections/default/documents/golden"
SPARE = "collections/default/documents/spare"
BASES = {  # a good request of each method, with every field set that may be
    "Encoder/IngestDocument": {
        "data": "QSB0ZXh0LiA=", "finish_write": True, "options": {"expire_time": "2100-01-01T00:00:00Z"},
    },
    "Encoder/GetIngestStatus": {"name": GOLDEN},
    "Encoder/CreateDocument": {
        "parent": "collections/default", "document": {"expire_time": "2100-01-01T00:00:00Z"},
    },
    "Encoder/GetDocument": {"name": GOLDEN},
    "Encoder/ListDocuments": {"parent": "collections/-", "page_size": 5},
    "Encoder/UpdateDocument": {
        "document": {"name": SPARE, "expire_time": "2100-01-01T00:00:00Z"}, "update_mask": "expireTime",
    },
    "Encoder/DeleteDocument": {"name": SPARE, "allow_missing": True},
    "Retriever/Retrieve": {"names": [GOLDEN], "question": golden.QUESTION, "budget": 100},
    "Retriever/ScoreDocument": {"name": GOLDEN, "question": golden.QUESTION, "part_count": 4},
    "Retriever/ReadText": {"name": GOLDEN, "byte_begin": 1, "byte_count": 10},
    "Generator/Generate": {
        "names": [GOLDEN], "question": golden.QUESTION, "budget": 100, "instruction": "Answer.", "answer_prefix": "It",
        "max_tokens": 2, "stop": ["stop"],
        "sampling": {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "seed": 1, "repetition_penalty": 1.1},
    },
}  # fmt: skip
# Of a document in a request the server reads nothing but its name, etag and expiry.
IGNORED = {
    "state", "committed_bytes", "token_count", "create_time", "update_time", "failure", "model_fingerprint",
    "tokenizer_fingerprint", "profile_fingerprint",
}  # fmt: skip


def is_ignored(method: str, path: str) -> bool:
    if not path.startswith("document."):
        return False
    name = path.split(".")[1]
    return name in IGNORED or (method == "Encoder/CreateDocument" and name in ("name", "etag"))


class FieldsTest(unittest.TestCase):
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
        cls.numbers = itertools.count()

    def base(self, name: str) -> dict:
        values = dict(BASES[name])
        unused = f"field-{next(self.numbers)}"
        if name == "Encoder/CreateDocument":
            values["document_id"] = unused
        if name == "Encoder/IngestDocument":
            values["name"] = f"collections/default/documents/{unused}"
        return values

    def outcome(self, method, request) -> Refusal | None:
        """-> None if it was answered."""
        try:
            self.reflected.call(method, [request] if method.client_streaming else request)
        except Refusal as refusal:
            return refusal
        return None

    def check(self, method, path: str, words: str, request) -> None:
        name = f"{method.containing_service.name}/{method.name}"
        if path == "names" and "10001" in words:
            request.question = "Q?"  # the number is what matters
        refusal = self.outcome(method, request)
        self.assertIsNone(self.server.process.poll(), self.server.log())
        if refusal is None:
            wrong = bad_values.must_be_refused(method.input_type, path, words) and not is_ignored(name, path)
            self.assertFalse(wrong, "it was answered")
            return
        self.assertIn(refusal.code, DOCUMENTED, refusal)
        self.assertEqual(refusal.info.domain, "ilre.io", refusal)
        self.assertRegex(refusal.reason, "^[A-Z][A-Z0-9_]+$", refusal)
        self.assertTrue(refusal.message)
        self.assertNotIn("\n", refusal.message)
        self.assertFalse(is_ignored(name, path), refusal)
        if bad_values.must_be_refused(method.input_type, path, words):
            self.assertEqual(refusal.code, Code.INVALID_ARGUMENT, refusal)
        if refusal.code == Code.INVALID_ARGUMENT and refusal.reason == "INVALID_ARGUMENT":
            fields = [violation.field for violation in refusal.bad_request.field_violations]
            self.assertTrue(fields, refusal)

    def test_every_method_has_a_good_request(self) -> None:
        self.assertEqual(set(self.reflected.methods()), set(BASES))
        for name, method in self.reflected.methods().items():
            refusal = self.outcome(method, self.reflected.request(method, self.base(name)))
            if refusal is not None:  # the spare document is not there yet, and what was created is empty
                self.assertEqual(refusal.code, Code.NOT_FOUND, f"{name}: {refusal}")

    def try_method(self, name: str) -> None:
        method = self.reflected.methods()[name]
        base = self.reflected.request(method, self.base(name))
        count = 0
        for path, words, request in bad_values.variations(base):
            self.make_room(name, base, request)
            with self.subTest(f"{name} {path} = {words}"):
                self.check(method, path, words, request)
                if count % 10 == 0:
                    self.golden.check(self.client, with_answer=False)
            count += 1
        self.assertGreater(count, 5)
        self.golden.check(self.client)

    def make_room(self, name: str, base, request) -> None:
        """A document that the request can be about, or a name that is not taken yet."""
        if name in ("Encoder/UpdateDocument", "Encoder/DeleteDocument"):
            self.client.ingest("spare", b"A spare text.")
        unused = f"field-{next(self.numbers)}"
        if name == "Encoder/CreateDocument" and request.document_id == base.document_id:
            request.document_id = unused
        if name == "Encoder/IngestDocument" and request.name == base.name:
            request.name = f"collections/default/documents/{unused}"

    def test_garbage_instead_of_a_message(self) -> None:
        for name, method in self.reflected.methods().items():
            # Cut short, field 0, text that is not UTF-8 in field 1. gRPC itself refuses them, before any code of ours.
            for garbage in (b"\x0a\xff", b"\x00\x01", b"\x0a\x02\xff\xfe", b"\xff" * 100):
                with self.subTest(f"{name} {garbage[:8]!r}"):
                    refusal = self.outcome(method, garbage)
                    self.assertIsNotNone(refusal)
                    self.assertIn(refusal.code, DOCUMENTED | {Code.INTERNAL, Code.UNIMPLEMENTED}, refusal)
                    self.assertIsNone(self.server.process.poll(), self.server.log())
        self.golden.check(self.client)

    def test_messages_in_the_wrong_order(self) -> None:
        name = "collections/default/documents/order"
        first = {"name": name, "data": "QSB0ZXh0LiA="}
        for words, messages, code in [
            ("none", [], Code.INVALID_ARGUMENT),
            ("another name", [first, {"name": GOLDEN, "write_offset": 8, "data": "YQ=="}], Code.INVALID_ARGUMENT),
            ("options late", [first, {"write_offset": 8, "options": {"append": True}}], Code.INVALID_ARGUMENT),
            (
                "after the end",
                [first | {"finish_write": True}, {"write_offset": 8, "data": "YQ=="}],
                Code.INVALID_ARGUMENT,
            ),
            ("a gap", [first, {"write_offset": 9, "data": "YQ=="}], Code.OUT_OF_RANGE),
            ("an overlap", [first, {"write_offset": 7, "data": "YQ=="}], Code.OUT_OF_RANGE),
            ("both ways", [first | {"options": {"append": True, "replace": True}}], Code.INVALID_ARGUMENT),
        ]:
            with self.subTest(words):
                refusal = self.outcome_of_stream("Encoder/IngestDocument", messages)
                self.assertIsNotNone(refusal)
                self.assertEqual(refusal.code, code, refusal)
                self.assertTrue(refusal.reason)
                self.client.delete_document("order", allow_missing=True)
        self.golden.check(self.client)

    def outcome_of_stream(self, name: str, messages: list) -> Refusal | None:
        try:
            self.reflected.call(name, messages)
        except Refusal as refusal:
            return refusal
        return None


def _add_test(name: str) -> None:
    setattr(FieldsTest, f"test_fields_of_{name.replace('/', '_')}", lambda self: self.try_method(name))


for _name in BASES:
    _add_test(_name)

if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main()
