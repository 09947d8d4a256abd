#!/usr/bin/env python3
"""Two tenants of one server: no call of one can see, guess, delete or block for ever what is the other's. Every method
is tried; one that is added has to be added here.

Usage: tenants_test.py FOLDER_OF_PROGRAMS [unittest arguments]
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import unittest

import built_client  # noqa: F401
import grpc
import ilre
from reflected import Refusal, Reflected, plain
from servers import Services, made_up_text, wait_for

PROGRAMS = ""
FLOOD = pathlib.Path(__file__).with_name("flood.py")
WAITING = 400  # places in the queue; one tenant gets three quarters of them
FLOODED = 250  # questions that Alice has under way; one connection carries 256
TOKENS = {"alice": "token-of-alice", "bob": "token-of-bob"}
QUESTION = "Which harbour has the better lamp?"
SECRET = made_up_text(6_000, seed=3)
DOCUMENT = "collections/{}/documents/{}".format

# A request of each method for a document.
REQUESTS = {
    "Encoder/IngestDocument": lambda c, d: [{"name": DOCUMENT(c, d), "write_offset": 5, "data": "YWJj"}],
    "Encoder/GetIngestStatus": lambda c, d: {"name": DOCUMENT(c, d)},
    "Encoder/CreateDocument": lambda c, d: {"parent": f"collections/{c}", "document_id": d},
    "Encoder/GetDocument": lambda c, d: {"name": DOCUMENT(c, d)},
    "Encoder/ListDocuments": lambda c, d: {"parent": f"collections/{c}"},
    "Encoder/UpdateDocument": lambda c, d: {"document": {"name": DOCUMENT(c, d)}},
    "Encoder/DeleteDocument": lambda c, d: {"name": DOCUMENT(c, d)},
    "Retriever/Retrieve": lambda c, d: {"names": [DOCUMENT(c, d)], "question": QUESTION},
    "Retriever/ScoreDocument": lambda c, d: {"name": DOCUMENT(c, d), "question": QUESTION},
    "Retriever/ReadText": lambda c, d: {"name": DOCUMENT(c, d)},
    "Generator/Generate": lambda c, d: {"names": [DOCUMENT(c, d)], "question": QUESTION, "max_tokens": 2},
}


class TenantsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.services = Services(PROGRAMS)
        cls.addClassCleanup(cls.services.close)
        tokens = cls.services.folder / "tokens"
        tokens.write_text("# two tenants\n" + "".join(f"{name} {token}\n" for name, token in TOKENS.items()))
        cls.server = cls.services.start(
            "serve", "--tokens-file", str(tokens), "--max-running", "2", "--max-waiting", str(WAITING)
        )
        cls.reflected = Reflected(cls.server.address)
        cls.addClassCleanup(cls.reflected.close)
        cls.clients = {name: ilre.Client(cls.server.address, token=token) for name, token in TOKENS.items()}
        for client in cls.clients.values():
            cls.addClassCleanup(client.close)

    def setUp(self) -> None:
        self.alice, self.bob = self.clients["alice"], self.clients["bob"]
        for client in self.clients.values():
            for document in list(client.list_documents()):
                client.delete_document(document.name)
        self.alice.ingest("papers/secret", SECRET.encode())
        self.before = self.alice.get_document("papers/secret")

    def outcome(self, tenant: str, method: str, request):
        """-> the answers, or the refusal; names of documents are the caller's to compare."""
        metadata = [("authorization", f"Bearer {TOKENS[tenant]}")]
        try:
            return [plain(answer) for answer in self.reflected.call(method, request, metadata=metadata)]
        except Refusal as refusal:
            return refusal

    def test_every_method_is_tried(self) -> None:
        self.assertEqual(set(self.reflected.methods()), set(REQUESTS))

    def test_without_a_good_token_there_is_nothing(self) -> None:
        for headers in [
            [], [("authorization", "Bearer wrong")], [("authorization", "Bearer ")], [("authorization", TOKENS["bob"])],
            [("authorization", f"Basic {TOKENS['bob']}")], [("authorization", f"Bearer {TOKENS['bob']}x")],
            [("authorization", f"Bearer {TOKENS['bob'][:-1]}")], [("authorization", "Bearer alice")],
        ]:  # fmt: skip
            for method, request in REQUESTS.items():
                with self.subTest(f"{method} {headers}"), self.assertRaises(Refusal) as caught:
                    self.reflected.call(method, request("papers", "secret"), metadata=headers)
                self.assertEqual(caught.exception.code, grpc.StatusCode.UNAUTHENTICATED)
                self.assertEqual(caught.exception.info.domain, "ilre.io")
                self.assertNotIn("token-of", caught.exception.message)
        self.assertTrue(self.reflected.services())  # reflection and health ask for none

    def test_the_others_documents_look_like_none(self) -> None:
        """Bob gets for Alice's document what he gets for one that nobody has, word for word but for the name."""
        for method, request in REQUESTS.items():
            with self.subTest(method):
                theirs = self.outcome("bob", method, request("papers", "secret"))
                self.bob.delete_document("papers/secret", allow_missing=True)
                nobodys = self.outcome("bob", method, request("nobodys", "nothing"))
                self.bob.delete_document("nobodys/nothing", allow_missing=True)
                self.assertEqual(self.faceless(theirs), self.faceless(nobodys))
                self.assertNotIn("alice", str(self.faceless(theirs)))
        self.assertEqual(self.alice.get_document("papers/secret"), self.before)

    def faceless(self, outcome) -> str:
        if isinstance(outcome, Refusal):
            said = (outcome.code, outcome.message, outcome.reason, dict(outcome.info.metadata), outcome.kinds,
                    outcome.resource.resource_name)  # fmt: skip
        else:
            for answer in outcome:
                answer.pop("etag", None)
            said = outcome
        return str(said).replace("papers", "C").replace("secret", "D").replace("nobodys", "C").replace("nothing", "D")

    def test_listing_shows_ones_own(self) -> None:
        self.bob.ingest("papers/mine", b"Of Bob.")
        for collection in ("-", "papers"):
            names = [document.name for document in self.bob.list_documents(collection)]
            self.assertEqual(names, [DOCUMENT("papers", "mine")])
            names = [document.name for document in self.alice.list_documents(collection)]
            self.assertEqual(names, [DOCUMENT("papers", "secret")])
        # A page token of the other's leads nowhere.
        for number in range(3):
            self.alice.ingest(f"papers/a{number}", b"Of Alice.")
        _, token = self.alice.list_page("-", 1)
        try:
            page, _ = self.bob.list_page("-", 10, token)
        except ilre.InvalidArgumentError:
            page = []
        self.assertTrue(all(document.name == DOCUMENT("papers", "mine") for document in page), page)

    def test_collections_hold_ones_own(self) -> None:
        self.bob.ingest("papers/mine", b"The lamp of Bob is the better one.")
        recalled = self.bob.retrieve(QUESTION, "papers/-")
        self.assertEqual({span.document for span in recalled.spans}, {DOCUMENT("papers", "mine")})
        self.assertEqual(recalled.document_count, 1)
        self.bob.delete_document("papers/mine")
        with self.assertRaises(ilre.NotFoundError):
            self.bob.retrieve(QUESTION, "papers/-")
        with self.assertRaises(ilre.NotFoundError):
            self.bob.ask(QUESTION, "papers/-").result()

    def test_one_name_two_documents(self) -> None:
        self.bob.ingest("papers/secret", b"Of Bob, under the same name.")
        self.assertEqual(self.bob.read_text("papers/secret").text, "Of Bob, under the same name.")
        self.assertEqual(self.alice.read_text("papers/secret", 0, 1000).document_bytes, len(SECRET.encode()))
        self.bob.delete_document("papers/secret")
        self.assertEqual(self.alice.get_document("papers/secret"), self.before)
        self.bob.ingest("papers/secret", b"Again.", replace=True)
        self.assertEqual(self.alice.get_document("papers/secret"), self.before)
        with self.assertRaises(ilre.AbortedError):
            self.bob.delete_document("papers/secret", etag=self.before.etag)

    def test_names_cannot_lead_across(self) -> None:
        for collection in (
            "alice.papers",
            "alice/papers",
            "../alice",
            "alice%2epapers",
            "alice-papers",
            "alice:papers",
        ):
            for method, request in REQUESTS.items():
                with self.subTest(f"{method} {collection}"):
                    outcome = self.outcome("bob", method, request(collection, "secret"))
                    if isinstance(outcome, Refusal):
                        self.assertIn(outcome.code.name, ("INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE"))
                    self.assertNotIn(SECRET[:20], str(outcome))
        self.assertEqual(self.alice.get_document("papers/secret"), self.before)

    def test_a_flood_of_one_leaves_room_for_the_other(self) -> None:
        """While hundreds of Alice's questions wait, each of Bob's is taken, and is answered after a number of hers that
        depends on the places of the server, not on how many wait: tenants take turns."""
        self.bob.ingest("papers/mine", SECRET.encode())

        def answered() -> float:
            return self.server.metric("ilre_requests_total", method="ilre.v1.Retriever/Retrieve", code="OK")

        flood = subprocess.Popen([sys.executable, FLOOD, self.server.address, TOKENS["alice"], str(FLOODED), QUESTION])
        try:
            waiting = FLOODED // 2
            with ilre.Client(self.server.address, token=TOKENS["bob"], retry=ilre.NO_RETRIES) as bob:
                others = []
                for _ in range(15):
                    wait_for("the queue is full", lambda: self.server.metric("ilre_queue_depth") > waiting)
                    before = answered()
                    bob.retrieve(QUESTION, "papers/mine")
                    others.append(answered() - before - 1)
                bob.ingest("papers/another", SECRET.encode())
                bob.ask(QUESTION, "papers/mine", max_tokens=3).result()
        finally:
            flood.kill()
            flood.wait()
        # Two run at once; more end while our own process waits for a processor. In order of arrival it were hundreds.
        self.assertLess(sorted(others)[len(others) // 2], waiting / 2, others)
        self.server.wait_until_idle()


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main()
