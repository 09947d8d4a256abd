#!/usr/bin/env python3
"""The manners of the command line: one clear line on stderr for everything that is wrong, the right exit status (0 done,
1 failed, 2 wrong usage), JSON as documented, and no lost document.

Usage: cli_test.py PATH_OF_ILRE [unittest arguments]
"""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

from ilre_cli import MODEL, PROGRESS, Ilre, made_up_text

BINARY = ""
SPAN_FIELDS = {"document", "token_begin", "token_end", "byte_begin", "byte_end", "score", "in_prompt", "text"}
ANSWER_FIELDS = {
    "answer", "spans", "prompt_tokens", "document_tokens", "recalled_tokens", "looks", "word_counts", "answer_tokens",
    "finish_reason", "timings_ms",
}  # fmt: skip
TIMING_FIELDS = {"load", "query", "score", "second_look", "rerank", "prefill", "first_token", "total"}
ROW_FIELDS = {
    "name", "state", "bytes", "tokens", "blocks", "text_checksum", "model", "tokenizer", "profile", "created",
    "updated", "revision",
}  # fmt: skip


class CliTest(unittest.TestCase):
    def setUp(self):
        self.ilre = Ilre(BINARY)
        self.addCleanup(self.ilre.close)

    def succeeds(self, *arguments, **options) -> str:
        """-> what it prints; nothing on stderr."""
        result = self.ilre.run(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""), f"ilre {arguments}")
        return result.stdout

    def fails(self, status: int, *arguments, says: str | list[str] = (), **options) -> str:
        """It exits with `status` and exactly one line on stderr, which says all of `says`."""
        result = self.ilre.run(*arguments, **options)
        line = result.stderr
        self.assertEqual(result.returncode, status, f"ilre {arguments}: {line}")
        self.assertRegex(line, r"\Ailre: [^\n]+\n\Z", f"ilre {arguments}")
        for what in [says] if isinstance(says, str) else says:
            self.assertIn(what, line)
        self.assertNotIn("\033", line)
        return line

    def ingest(self, name: str, text: str | bytes, *options: str) -> str:
        return self.succeeds("ingest", name, self.ilre.file(f"{name.replace('/', '_')}.txt", text), *options)


class UsageTest(CliTest):
    def test_wrong_usage_is_2_and_says_what_is_wrong(self):
        for arguments, says in [
            ([], "subcommand"),
            (["fly"], "fly"),
            (["ingest"], "name"),
            (["ingest", "d"], "file"),
            (["ingest", "d", "f", "--fly"], "--fly"),
            (["ingest", "d", "f", "too-many"], "too-many"),
            (["ingest", "d", "f", "--commit-blocks", "0"], "--commit-blocks"),
            (["ingest", "d", "f", "--commit-blocks", "x"], "--commit-blocks"),
            (["ingest", "d", "f", "--append", "--replace"], "--append"),
            (["ingest", "d", "f", "--max-bytes", "-1"], "--max-bytes"),
            (["ask"], "NAME"),
            (["ask", "only-one-word"], "names"),
            (["ask", "d", "q", "--batch", "f"], "--batch"),
            (["ask", "d", "q", "--budget", "-5"], "--budget"),
            (["ask", "d", "q", "--max-tokens", "many"], "--max-tokens"),
            (["ask", "d", "q", "--threads", "-1"], "--threads"),
            (["documents"], "subcommand"),
            (["documents", "show"], "name"),
            (["documents", "burn", "d"], "burn"),
            (["inspect", "--segments"], "--segments"),
            (["inspect", "--checksums"], "--checksums"),
        ]:
            with self.subTest(arguments):
                self.fails(2, *arguments, says=says)

    def test_help_is_0_on_stdout(self):
        for arguments in [["--help"], ["ingest", "--help"], ["ask", "-h"], ["documents", "--help"], ["--version"]]:
            with self.subTest(arguments):
                self.assertTrue(self.succeeds(*arguments))

    def test_names(self):
        file = self.ilre.file("a.txt", "A text.")
        bad = ["A", "a_b", "-a", "a-", "a/b/c", "/", "", "a/", "../x", "é", "x" * 64, "a b"]
        for name in bad:
            with self.subTest(name):
                self.fails(1, "ingest", "--", name, file, says="name")
                self.fails(1, "documents", "delete", "--", name, says="name")
                self.fails(1, "ask", "--", name, "What?", says="name")
        self.assertFalse(self.ilre.data.exists(), "nothing is made for a wrong name")
        for name in ["a", "0", "a-b", "x" * 63, "c/d"]:
            with self.subTest(name):
                self.succeeds("ingest", name, file)
        self.succeeds("ingest", "e", file, "--collection", "f")
        self.assertEqual(self.ilre.show("f/e")["name"], "f/e")


class WrongModelTest(CliTest):
    def refused(self, model, *says: str):
        file = self.ilre.file("a.txt", "A text.")
        return self.fails(1, "ingest", "d", file, "--model", str(model), says=[str(model), *says])

    def test_what_is_not_a_model(self):
        self.refused(self.ilre.folder / "nowhere.gguf", "No such file")
        self.refused(self.ilre.file("text.gguf", "This is a text.\n" * 100))
        self.refused(self.ilre.file("text.txt", "This is a text.\n" * 100))
        self.refused(self.ilre.file("empty.gguf", ""))
        self.refused(self.ilre.file("four.gguf", "GGUF"))
        folder = self.ilre.folder / "folder"
        folder.mkdir()
        self.refused(folder)
        (folder / "config.json").write_text("{}")
        self.refused(folder)
        (folder / "config.json").write_text("no json")
        self.refused(folder)

    def test_truncated_models(self):
        whole = MODEL.read_bytes()
        for size in [4, 8, 23, 24, 100, 1000, len(whole) // 2, len(whole) - 1000, len(whole) - 1]:
            with self.subTest(size=size):
                self.refused(self.ilre.file("cut.gguf", whole[:size]))

    def test_profiles(self):
        file = self.ilre.file("a.txt", "A text.")
        for content, says in [
            ("", "JSON"), ("[]", "object"), ("{}", "format"), ('{"format": 2}', "format"), ("not json", "JSON"),
        ]:  # fmt: skip
            with self.subTest(content):
                path = self.ilre.file("bad.json", content)
                self.fails(1, "ingest", "d", file, "--profile", path, says=[path, says])
        other = self.ilre.write_profile("other.json", model="f" * 16)
        self.fails(1, "ingest", "d", file, "--profile", other, says="f" * 16)
        self.fails(1, "ingest", "d", file, "--profile", "nowhere.json", says="nowhere.json")
        misspelt = self.ilre.write_profile("misspelt.json", widnow=3)
        self.fails(1, "ingest", "d", file, "--profile", misspelt, says="widnow")

    def test_a_device_that_is_not_there(self):
        file = self.ilre.file("a.txt", "A text.")
        self.fails(1, "ingest", "d", file, "--device", "cuda:7", says="cuda")
        self.fails(1, "ingest", "d", file, "--device", "abacus", says="abacus")


class WrongInputTest(CliTest):
    def refused(self, content: bytes, *says: str, options=()):
        path = self.ilre.file("input", content)
        self.fails(1, "ingest", "d", path, *options, says=[path, *says])
        self.fails(1, "ingest", "d", "-", *options, input=content, says=list(says))
        self.assertEqual(self.ilre.show("d"), {}, "a refused document leaves nothing behind")

    def test_files_that_cannot_be_read(self):
        self.fails(1, "ingest", "d", "nowhere.txt", says=["nowhere.txt", "No such file"])
        self.fails(1, "ingest", "d", "/", says="/ is a folder")
        self.fails(1, "ingest", "d", "/dev/null", says="empty")

    def test_what_is_not_text(self):
        text = made_up_text(300_000).encode()
        self.refused(b"", "empty")
        self.refused(b"\0", "byte 0 is NUL")
        self.refused(b"\0" * 3_000_000, "byte 0 is NUL")
        self.refused(b"caf\xe9", "byte 3")
        self.refused(text + b"\xff", f"byte {len(text)}")
        self.refused(text + b"\0" + text, f"byte {len(text)} is NUL")
        self.refused(text + "é".encode()[:1], f"byte {len(text)}")
        self.refused(pathlib.Path("/bin/ls").read_bytes(), "NUL")
        self.refused("UTF-16 text".encode("utf-16"), "not UTF-8", "byte 0")

    def test_documents_that_are_too_large(self):
        self.refused(b"x" * 20_000_000, "1,000,000", "--max-bytes", options=["--max-bytes", "1000000"])

    def test_a_huge_line_without_a_blank_is_read_in_bounded_memory(self):
        path = self.ilre.file("line.txt", "x" * 2_000_000)
        process = self.ilre.start("ingest", "line", path)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        with process.stdout, process.stderr:
            errors = process.stderr.read().decode().splitlines(True)
        self.assertEqual((process.returncode, [line for line in errors if not PROGRESS.match(line)]), (0, []))
        self.assertLess(usage.ru_maxrss, 400_000, "KiB")
        self.assertEqual(self.ilre.show("line")["bytes"], 2_000_000)

    def test_control_characters_and_odd_text_are_text(self):
        for number, content in enumerate(["\x04" * 5000, "\x7f\x01\x02", "\u2028\u200b", "\ufeffbom", "\r\n" * 1000, " "]):
            with self.subTest(content[:5]):
                self.ingest(f"odd-{number}", content)
                spans = json.loads(self.succeeds("ask", f"odd-{number}", "What?", "--json", "--max-tokens", "0"))["spans"]
                self.assertTrue(content.startswith(spans[0]["text"][:20]))


class AskTest(CliTest):
    def setUp(self):
        super().setUp()
        self.text = made_up_text(20_000)
        self.ingest("d", self.text)
        self.ingest("e", "Another text. It is short.")

    def check_answer(self, answer: dict, num_documents=1):
        self.assertEqual(set(answer), ANSWER_FIELDS)
        self.assertEqual(set(answer["timings_ms"]), TIMING_FIELDS)
        tokens = 0
        for span in answer["spans"]:
            self.assertEqual(set(span), SPAN_FIELDS)
            self.assertLess(span["token_begin"], span["token_end"])
            tokens += span["token_end"] - span["token_begin"]
            if span["document"] == "default/d":
                stored = self.text.encode()[span["byte_begin"] : span["byte_end"]].decode("utf-8", "replace")
                self.assertEqual(span["text"], stored)
        self.assertEqual(tokens, answer["recalled_tokens"])
        self.assertEqual(len({span["document"] for span in answer["spans"]}), num_documents)

    def test_json_has_the_documented_fields(self):
        answer = json.loads(self.succeeds("ask", "d", "Which letter?", "--json", "--max-tokens", "7"))
        self.check_answer(answer)
        self.assertLessEqual(answer["recalled_tokens"], 200)
        self.assertGreater(answer["prompt_tokens"], 0)
        self.assertIn(answer["finish_reason"], ["MAX_TOKENS", "END_TOKEN"])
        spans_only = json.loads(self.succeeds("ask", "d", "Which letter?", "--json", "--max-tokens", "0"))
        self.check_answer(spans_only)
        self.assertEqual(spans_only["spans"], answer["spans"])
        self.assertEqual((spans_only["answer"], spans_only["finish_reason"]), ("", ""))
        self.assertIsNone(answer["word_counts"])

    def test_a_question_that_counts_words_says_so(self):
        self.ingest("w", "Kite and lamp. The kite.")
        question = "Which are the two most common words?"
        answer = json.loads(self.succeeds("ask", "w", question, "--json", "--max-tokens", "0"))
        self.check_answer(answer)
        words = [{"word": "Kite", "count": 2}, {"word": "lamp", "count": 1}]
        self.assertEqual(answer["word_counts"], {"words": words, "total": 3})
        shown = self.succeeds("ask", "w", question, "--max-tokens", "0")
        self.assertIn("Words were counted, 3 in all: Kite 2, lamp 1\n", shown)

    def test_several_documents_and_collections(self):
        arguments = ["Which letter?", "--json", "--max-tokens", "0", "--budget", "20000"]
        self.check_answer(json.loads(self.succeeds("ask", "d", "e", *arguments)), 2)
        self.check_answer(json.loads(self.succeeds("ask", *arguments, "--collection", "default")), 2)
        self.check_answer(json.loads(self.succeeds("ask", "e", "default/-", *arguments)), 2)
        self.fails(1, "ask", *arguments, "--collection", "empty", says="empty")
        self.fails(1, "ask", "empty/-", *arguments, says="empty")
        self.fails(1, "ask", "d", "nothing", *arguments, says="default/nothing")
        self.fails(1, "ask", "Empty/-", *arguments, says="'Empty' is not a name")

    def test_several_documents_are_named_in_the_prompt(self):
        one, two = (
            json.loads(self.succeeds("ask", *names, "Which letter?", "--json", "--max-tokens", "1", "--budget", "100"))
            for names in (["d"], ["d", "e"])
        )
        tokens = [sum(s["token_end"] - s["token_begin"] for s in a["spans"] if s["in_prompt"]) for a in (one, two)]
        self.assertGreater(two["prompt_tokens"] - tokens[1], one["prompt_tokens"] - tokens[0])

    def test_text_for_people(self):
        shown = self.succeeds("ask", "d", "Which letter?", "--max-tokens", "3")
        self.assertIn("Recalled", shown)
        self.assertIn("default/d [", shown)

    def test_documents_that_are_not_there(self):
        self.fails(1, "ask", "nothing", "Which letter?", says="default/nothing")
        self.fails(1, "documents", "show", "nothing", says="default/nothing")
        self.fails(1, "documents", "delete", "nothing", says="default/nothing")
        self.fails(1, "inspect", "nothing", says="default/nothing")
        self.fails(1, "ask", "d", "Which?", "--data-dir", "nowhere", says="nowhere")
        self.fails(1, "documents", "list", "--data-dir", "nowhere", says="nowhere")
        self.assertFalse((self.ilre.folder / "nowhere").exists())

    def test_wrong_questions(self):
        self.fails(1, "ask", "d", "", says="question")
        self.fails(1, "ask", "d", b"caf\xe9", says="UTF-8")
        self.fails(1, "ask", "d", "x" * 5000, says="4096")
        self.fails(1, "ask", "d", "What?", "--stop", "", says="stop")
        self.fails(1, "ask", "d", "What?", "--temperature", "-1", says="temperature")
        self.fails(1, "ask", "d", "What?", "--budget", "5000", says="budget")  # more than the model can read

    def test_batch(self):
        good = {"documents": ["d"], "question": "Which letter?", "max_tokens": 2}
        lines = [
            json.dumps(good), "", "no json", "[]", '{"documents": ["d"]}', '{"question": "Who?"}',
            json.dumps(good | {"documents": "d"}), json.dumps(good | {"documents": [1]}),
            json.dumps(good | {"budget": -1}), json.dumps(good | {"budget": "many"}),
            json.dumps(good | {"documents": ["nothing"]}), json.dumps(good | {"fly": True}),
            json.dumps(good | {"question": 7}), json.dumps(good | {"documents": [], "collection": "default"}),
        ]  # fmt: skip
        path = self.ilre.file("batch.jsonl", "\n".join(lines) + "\n")
        result = self.ilre.run("ask", "--batch", path)
        self.assertEqual(result.returncode, 1)
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(len(answers), len(lines) - 1, "one answer for each line that is not empty")
        for number, answer in enumerate(answers):
            if number in (0, len(answers) - 1):
                self.assertEqual(set(answer), ANSWER_FIELDS)
            else:
                self.assertEqual(set(answer), {"error", "code", "reason"})
        errors = result.stderr.splitlines()
        self.assertEqual(len(errors), len(answers) - 2 + 1)
        self.assertTrue(errors[0].startswith(f"ilre: {path}:3: "))
        self.assertIn("11 of 13", errors[-1])

        good_file = self.ilre.file("good.jsonl", json.dumps(good) + "\n")
        self.check_answer(json.loads(self.succeeds("ask", "--batch", good_file)))
        self.check_answer(json.loads(self.succeeds("ask", "--batch", "-", input=json.dumps(good))))
        self.fails(1, "ask", "--batch", "nowhere.jsonl", says="nowhere.jsonl")
        self.fails(1, "ask", "--batch", "/", says="/")

    def test_another_profile_is_refused(self):
        other = self.ilre.write_profile("other.json", window=65)
        self.fails(1, "ask", "d", "Which?", "--profile", other, says=["default/d", "profile"])
        self.fails(1, "ingest", "d", "-", "--append", "--profile", other, input="More.", says=["default/d", "profile"])
        same = ["ingest", "d", self.ilre.file("same.txt", self.text), "--profile", other]
        self.fails(1, *same, says=["default/d", "profile", "--replace"])
        self.succeeds(*same, "--replace")
        self.succeeds("ask", "d", "Which?", "--profile", other)


class DocumentsTest(CliTest):
    def test_rows(self):
        self.assertEqual(self.fails(1, "documents", "list", says=str(self.ilre.data)), self.fails(1, "documents", "list"))
        self.ingest("d", "A text.")
        self.ingest("c/e", "A text.")
        rows = [json.loads(line) for line in self.succeeds("documents", "list", "--json").splitlines()]
        self.assertEqual([row["name"] for row in rows], ["c/e", "default/d"])
        for row in rows:
            self.assertEqual(set(row), ROW_FIELDS)
            self.assertEqual((row["state"], row["bytes"]), ("READY", 7))
        self.assertEqual(len(self.succeeds("documents", "list", "--collection", "c").splitlines()), 1)
        self.assertIn("READY", self.succeeds("documents", "show", "d"))
        self.assertEqual(self.ilre.checksums("d"), self.ilre.checksums("c/e"))
        store = json.loads(self.succeeds("inspect", "--json", "--verify"))
        self.assertEqual((store["documents"], store["text_bytes"], store["damaged"]), (2, 14, 0))
        segment = json.loads(self.succeeds("inspect", "d", "--segments"))
        self.assertEqual(segment["text"], "A text.")
        self.assertIn("deleted", self.succeeds("documents", "delete", "d"))
        self.fails(1, "documents", "show", "d", says="default/d")
        self.assertTrue(self.ilre.show("c/e"))


class IngestTest(CliTest):
    def test_again_other_replace_append(self):
        text = made_up_text(9000)
        path = self.ilre.file("d.txt", text)
        self.succeeds("ingest", "d", path)
        before = self.ilre.show("d")
        self.assertIn("up to date", self.succeeds("ingest", "d", path))
        self.assertEqual(self.ilre.show("d"), before, "the same content again changes nothing")
        self.assertIn("up to date", self.succeeds("ingest", "d", "-", input=text))
        for other in [text + "x", text[:-1], "x" + text[1:], "x"]:
            self.fails(1, "ingest", "d", self.ilre.file("other.txt", other), says=["default/d", "--replace"])
        self.assertEqual(self.ilre.show("d"), before)
        self.succeeds("ingest", "d", self.ilre.file("more.txt", "More of it."), "--append")
        self.succeeds("ingest", "whole", self.ilre.file("whole.txt", text + "More of it."))
        self.assertEqual(self.ilre.checksums("d"), self.ilre.checksums("whole"))
        self.succeeds("ingest", "d", self.ilre.file("new.txt", "New."), "--replace")
        self.assertEqual(self.ilre.show("d")["bytes"], 4)
        self.fails(1, "ingest", "d", self.ilre.file("bad.txt", b"\xff"), "--replace", says="UTF-8")
        self.fails(1, "ingest", "d", "-", "--replace", input=b"\xff", says="UTF-8")

    def interrupted(self, with_signal) -> int:
        """Interrupts an ingest of self.path after its first commit. -> bytes acknowledged"""
        process = self.ilre.start("ingest", "d", self.path, "--commit-blocks", "1", "--acknowledge")
        line = process.stdout.readline().decode()
        self.assertRegex(line, r"^acknowledged \d+$")
        process.send_signal(with_signal)
        rest, errors = process.communicate(timeout=20)
        lines = errors.decode().splitlines()
        if process.returncode == 0:
            self.skipTest("it was too fast to be interrupted")
        self.assertEqual(process.returncode, 1)
        self.assertRegex(lines[-1], r"^ilre: default/d is not finished \(run the same command again to go on\)")
        return int((line + rest.decode()).split()[-1])

    def test_ctrl_c_and_going_on(self):
        text = made_up_text(400_000)
        self.path = self.ilre.file("d.txt", text)
        for with_signal in [signal.SIGINT, signal.SIGTERM]:
            acknowledged = self.interrupted(with_signal)
            row = self.ilre.show("d")
            self.assertEqual(row["state"], "INGESTING")
            self.assertGreaterEqual(row["bytes"], acknowledged)
        self.fails(1, "ask", "d", "What?", says=["default/d", "INGESTING"])
        self.fails(1, "ingest", "d", self.ilre.file("other.txt", "x" * 400_000), says="other content")
        result = self.ilre.run("ingest", "d", self.path)
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"\Adefault/d: going on at byte [0-9,]+\n\Z")
        self.succeeds("ingest", "whole", self.path)
        self.assertEqual(self.ilre.checksums("d"), self.ilre.checksums("whole"))
        self.assertEqual(self.ilre.show("d")["text_checksum"], self.ilre.show("whole")["text_checksum"])


class StoreTest(CliTest):
    def test_a_second_writer_is_refused_and_readers_are_not(self):
        self.ingest("ready", "A text that is there. It can be asked.")
        writer = self.ilre.start("ingest", "slow", "-", "--commit-blocks", "1", stdin=subprocess.PIPE)
        with contextlib.ExitStack() as stack:
            stack.callback(writer.kill)
            for _ in range(200):  # it has the store once its document is there
                writer.stdin.write(b"A line.\n" * 1000)
                writer.stdin.flush()
                if self.ilre.show("slow").get("bytes"):
                    break
            self.fails(1, "ingest", "x", self.ilre.file("x.txt", "x"), says=[str(self.ilre.data), "use"])
            self.fails(1, "documents", "delete", "ready", says=[str(self.ilre.data), "use"])
            self.assertEqual(len(self.succeeds("documents", "list").splitlines()), 2)
            self.succeeds("ask", "ready", "What is there?", "--json", "--max-tokens", "1")
            self.succeeds("inspect", "ready", "--verify")
            writer.stdin.close()
            self.assertEqual(writer.wait(60), 0)
        writer.stdout.close(), writer.stderr.close()
        self.assertEqual(self.ilre.show("slow")["state"], "READY")

    def test_a_folder_that_cannot_be_written(self):
        file = self.ilre.file("x.txt", "A text.")
        self.fails(1, "ingest", "d", file, "--data-dir", file, says=file)
        self.fails(1, "ingest", "d", file, "--data-dir", "/proc/nowhere", says="/proc/nowhere")
        if os.path.ismount("/sys"):
            self.fails(1, "ingest", "d", file, "--data-dir", "/sys/kernel", says="/sys/kernel")
        no_home = {"HOME": "", "ILRE_DATA_DIR": ""}
        self.fails(1, "ingest", "d", file, says="--data-dir", environment=no_home)

    def test_a_full_disk(self):
        text = made_up_text(3_000_000)
        path = self.ilre.file("d.txt", text)
        small = self.ilre.folder / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            self.skipTest("mounting a small file system is not allowed here")
        self.addCleanup(subprocess.run, ["umount", str(small)], check=False)
        result = self.ilre.run("ingest", "d", path, "--data-dir", small / "data", "--commit-blocks", "16")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr.splitlines()[-1], r"^ilre: .*no space left")
        self.assertEqual(len(result.stderr.splitlines()), 1)
        self.succeeds("documents", "list", "--data-dir", small / "data")  # what is there can be read
        subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
        self.assertEqual(self.ilre.run("ingest", "d", path, "--data-dir", small / "data").returncode, 0)
        self.succeeds("ingest", "whole", path)
        checksums = self.succeeds("inspect", "d", "--checksums", "--data-dir", small / "data").splitlines()
        self.assertEqual(checksums, self.ilre.checksums("whole"))

    def test_a_file_size_limit(self):
        """A disk that refuses more: the limit of this process on file sizes stands in for it."""
        path = self.ilre.file("d.txt", made_up_text(1_000_000))

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

        result = self.ilre.run("ingest", "d", path, "--commit-blocks", "16", preexec_fn=limit)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        result = self.ilre.run("ingest", "d", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.succeeds("inspect", "d", "--verify")

    def test_started_without_standard_files(self):
        """Their numbers are not left to files of the store: what is printed would end up in those."""
        without = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", self.ilre.binary]
        serve = ["serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
        process = subprocess.Popen([*without, *serve], env=self.ilre.environment)
        stored: list[int] = []
        try:
            end = time.monotonic() + 60
            while not stored:
                self.assertIsNone(process.poll())
                self.assertLess(time.monotonic(), end, "the store is not opened")
                time.sleep(0.02)
                for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(link) == str(self.ilre.data / "LOG"):
                            stored.append(int(link.name))
        finally:
            process.kill()
            process.wait()
        self.assertGreater(min(stored), 2)

    def test_damaged_files_are_found_and_never_answered_from(self):
        self.ingest("d", made_up_text(60_000))
        self.ingest("e", made_up_text(3_000, seed=2))
        sound = self.ilre.folder / "sound"
        shutil.copytree(self.ilre.data, sound)
        question = ["ask", "d", "Which letter?", "--json", "--max-tokens", "0"]
        spans = json.loads(self.succeeds(*question))["spans"]
        for file in sorted(sound.iterdir()):
            if not (file.suffix in (".sst", ".log") or file.name.startswith(("CURRENT", "MANIFEST"))):
                continue
            size = file.stat().st_size
            for place in range(0, size, max(1, size // 6)):
                with self.subTest(file=file.name, place=place):
                    shutil.rmtree(self.ilre.data)
                    shutil.copytree(sound, self.ilre.data)
                    content = bytearray(file.read_bytes())
                    content[place] ^= 0x55
                    (self.ilre.data / file.name).write_bytes(content)
                    result = self.ilre.run(*question)
                    if result.returncode == 0:
                        self.assertEqual(json.loads(result.stdout)["spans"], spans)
                    else:
                        self.assertEqual(result.returncode, 1)
                        self.assertRegex(result.stderr, r"\Ailre: [^\n]+\n\Z")
                        self.assertEqual(result.stdout, "")

    def test_files_that_are_missing_or_empty(self):
        """An error; or the identical answer, where the file holds nothing that the question needs."""
        self.ingest("d", made_up_text(6_000))
        question = ["ask", "d", "Which letter?", "--json", "--max-tokens", "0"]
        spans = json.loads(self.succeeds(*question))["spans"]
        sound = self.ilre.folder / "sound"
        shutil.copytree(self.ilre.data, sound)
        for file in sorted(sound.iterdir()):
            if not (file.suffix == ".sst" or file.name.startswith(("CURRENT", "MANIFEST"))):
                continue
            for content in (None, b""):
                with self.subTest(file=file.name, content=content):
                    shutil.rmtree(self.ilre.data)
                    shutil.copytree(sound, self.ilre.data)
                    (self.ilre.data / file.name).unlink()
                    if content is not None:
                        (self.ilre.data / file.name).write_bytes(content)
                    result = self.ilre.run(*question)
                    if result.returncode == 0:
                        self.assertEqual(json.loads(result.stdout)["spans"], spans)
                    else:
                        self.fails(1, *question)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main(verbosity=2)
