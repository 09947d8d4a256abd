#!/usr/bin/env python3
"""The page of `ilre serve` in headless Chromium, with the default model: drop a document, ask, see the answer and where it
came from; hostile texts and files; tokens; deletion. Nothing is loaded from anywhere else.

Usage: page_test.py PATH_OF_ILRE [unittest arguments]. Exit status 77 (skipped) where there is no Chromium. With
ILRE_UPDATE_SCREENSHOTS=1 it also makes docs/page.png, from the book of Genesis.
"""

import os
import pathlib
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from webdriver import MAKES_MARKUP, WEAK_CONTRAST, Browser, is_available

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = ""
START_SECONDS = 180  # of a server that loads a model on a busy machine
READ_SECONDS = 600  # of a document or an answer

HOSTILE = (
    "</script><script>window.pwned = 1</script> <img src=x onerror='window.pwned = 2'> is the motto of the guild.\n"
    'The \u202eguild\u202c of \u2066lamplighters\u2069 meets at \x07 the ${window.pwned = 3} {{inn}} "on" <b>Fridays</b>.\n'
)


def prose(size: int, seed: int) -> str:
    """Plain English of at least `size` bytes about nothing in particular."""
    generator = random.Random(seed)
    subjects = [
        "The baker",
        "A heron",
        "The old ferry",
        "Our neighbour",
        "The schoolmaster",
        "A cart of hay",
        "The miller's dog",
    ]
    verbs = ["waited beside", "went past", "was seen near", "returned to", "slept behind", "looked at", "stood under"]
    places = ["the mill", "the church", "the wooden bridge", "the market", "the orchard", "the long wall", "the quay"]
    times = ["in the morning", "after the rain", "before supper", "all afternoon", "on a quiet day", "in late autumn"]
    text = ""
    while len(text) < size:
        text += " ".join(generator.choice(words) for words in (subjects, verbs, places, times)) + "."
        text += "\n" if generator.random() < 0.2 else " "
    return text


class Server:
    """An `ilre serve` with a store of its own."""

    def __init__(self, *options: str):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ilre-page-test-"))
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [BINARY, "serve", "--data-dir", str(self.folder / "data"), "--listen", "127.0.0.1:0", "--http-listen",
             "127.0.0.1:0", *options],
            stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.process.stdout], daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                found = re.match(r"http on (\S+)", lines.get(timeout=1))
            except queue.Empty:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")
                    self.close()
                    raise AssertionError(f"ilre serve did not start:\n{log}") from None
                continue
            if found:
                self.url = f"http://{found.group(1)}"
                return

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def drop(browser: Browser, name: str, text: str | bytes):
    """Drops a file on the page, as a person would."""
    content = list(text.encode() if isinstance(text, str) else text)
    browser.run(
        "const data = new DataTransfer(); data.items.add(new File([new Uint8Array(arguments[1])], arguments[0]));"
        "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}))",
        name, content)  # fmt: skip


READY = """const row = document.querySelector(`[data-name='collections/default/documents/${arguments[0]}']`);
return row !== null && / tokens?$/.test(row.textContent.trim())"""
ANSWERED = """return document.querySelector('.answer-text:not(.writing)') !== null &&
document.querySelector('#result .times') !== null && document.querySelector('.map') !== null"""


def read_document(browser: Browser, name: str, text: str | bytes):
    drop(browser, f"{name}.txt", text)
    browser.wait(READY, name, seconds=READ_SECONDS)
    browser.wait("return document.querySelectorAll('.upload').length === 0")


def choose(browser: Browser, *names: str):
    """Chooses exactly these documents."""
    browser.run(
        "for (const box of document.querySelectorAll('.document input')) {"
        "  const name = box.closest('.document').dataset.name.split('/').pop();"
        "  if (box.checked !== arguments[0].includes(name)) box.click(); }", names)  # fmt: skip


def ask(browser: Browser, question: str):
    browser.run("document.getElementById('question').value = ''")
    browser.type("#question", question + "\n")
    browser.wait(ANSWERED, seconds=READ_SECONDS)


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)
        cls.browser = Browser(1280, 900)
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.complaints()
        self.browser.open(self.server.url + "/")
        self.browser.wait("return document.getElementById('asked').textContent !== ''")

    def has_no_complaints(self):
        # A document that is not there yet is asked for while it is being read.
        self.assertEqual([line for line in self.browser.complaints() if ":status - Failed to load" not in line], [])

    def test_from_a_dropped_document_to_the_answer(self):
        browser = self.browser
        fact = "The password of the harbour safe is 4417, and the harbour master keeps it to himself. "
        text = prose(12000, 1) + fact + prose(12000, 2)
        read_document(browser, "harbour", text)
        self.assertTrue(browser.run("return document.querySelector('[data-name$=\"/harbour\"] input').checked"))
        choose(browser, "harbour")
        ask(browser, "What is the password of the harbour safe?")
        self.assertIn("4417", browser.text(".answer-text"))
        self.assertIn("of the document was read to answer", browser.text(".figures"))
        self.assertIn("Reading the prompt", browser.text(".times"))
        # The passage that it came from is marked in its place, and opens in its context.
        self.assertGreater(browser.count(".mark:not(.left-out)[data-id]"), 0)
        browser.run("document.querySelector('.mark:not(.left-out)[data-id]').click()")
        browser.wait("return document.querySelector('.passage.selected .context') !== null")
        shown = browser.text(".passage.selected .passage-text").replace("\u2026", "")
        self.assertIn(shown, text)
        self.assertIn("4417", browser.text(".passages"))
        # Any other place can be looked at.
        browser.click(".map-skyline")
        browser.wait("return document.querySelector('.reader .passage-text')")
        self.assertIn(browser.text(".reader .passage-text").replace("\u2026", ""), text)
        origins = browser.run("return performance.getEntriesByType('resource').map((e) => new URL(e.name).origin)")
        self.assertEqual(set(origins), {self.server.url})
        self.has_no_complaints()

    def test_hostile_texts_stay_text(self):
        browser = self.browser
        path = self.server.folder / "hostile.txt"
        path.write_bytes((prose(3000, 3) + HOSTILE).encode())
        browser.type("#file", str(path))  # as the dialog would
        browser.wait(READY, "hostile", seconds=READ_SECONDS)
        choose(browser, "hostile")
        ask(browser, "What is the motto of the guild <img src=x onerror='window.pwned = 4'>?")
        self.assertIsNone(browser.run("return window.pwned ?? null"))
        self.assertEqual(browser.count("#result img, #result script, #result b:not(.figure b)"), 0)
        self.assertIn(
            "</script><script>window.pwned = 1</script>",
            browser.run("return document.querySelector('.passages').textContent"),
        )
        self.assertIn("<img src=x onerror='window.pwned = 4'>", browser.text(".asked-question"))
        self.has_no_complaints()
        self.assertEqual(browser.run(MAKES_MARKUP), "TypeError")

    def test_several_documents(self):
        browser = self.browser
        read_document(browser, "first", prose(4000, 4) + "Magda painted the lighthouse green. ")
        read_document(browser, "second", prose(4000, 5) + "Magda sold the lighthouse to a sailor. ")
        choose(browser, "first", "second")
        self.assertEqual(browser.text("#asked"), "of 2 documents")
        ask(browser, "What did Magda do with the lighthouse?")
        self.assertEqual(browser.count(".map"), 2)
        for name in ("first", "second"):
            self.assertIn(f"{name}, at ", browser.text(".passages"))
        self.has_no_complaints()

    def test_what_goes_wrong_is_said_and_can_be_mended(self):
        browser = self.browser
        drop(browser, "broken.txt", b"fine so far \xff\xfe no more")
        browser.wait("return document.querySelector('.upload .error')")
        self.assertIn("UTF-8", browser.text(".upload .error"))
        browser.click(".upload button[aria-label='Close']")
        browser.wait("return document.querySelectorAll('.upload').length === 0")
        read_document(browser, "twice", "The first text.")
        drop(browser, "Twice.txt", "The second text, which is longer than the first one.")
        browser.wait("return document.querySelector('.upload .error')")
        self.assertIn("another text of that name", browser.text(".upload .error"))
        browser.run(
            "[...document.querySelectorAll('.upload button')].find((b) => b.textContent === 'Replace it').click()"
        )
        browser.wait("return document.querySelectorAll('.upload').length === 0", seconds=READ_SECONDS)
        browser.wait(READY, "twice")
        choose(browser, "twice")
        ask(browser, "Which text?")
        self.assertIn("The second text", browser.text(".passages"))

    def test_deleting_takes_two_presses(self):
        browser = self.browser
        read_document(browser, "unwanted", "A text that nobody needs.")
        button = "button[aria-label='Delete unwanted']"
        # In one go: a press that is not followed by another is forgotten after some seconds.
        said = browser.run(
            "const button = document.querySelector(arguments[0]); button.click();"
            "const said = button.textContent; button.click(); return said",
            button,
        )
        self.assertEqual(said, "Delete?")
        browser.wait("return document.querySelector(arguments[0]) === null", button)
        browser.open(self.server.url + "/")
        browser.wait(
            "return document.querySelector('.document') !== null || !document.getElementById('no-documents').hidden"
        )
        self.assertEqual(browser.count(button), 0)

    def test_colours_can_be_read_and_nothing_sticks_out(self):
        browser = self.browser
        read_document(browser, "colours", "Red, green and blue are the colours of light. " + prose(2000, 6))
        choose(browser, "colours")
        ask(browser, "Which are the colours of light?")
        browser.wait("return document.querySelector('.context') !== null")
        self.addCleanup(browser.color_scheme, "")
        self.addCleanup(browser.devtools, "Emulation.clearDeviceMetricsOverride")
        for scheme in ["light", "dark"]:
            browser.color_scheme(scheme)
            self.assertEqual(browser.run(WEAK_CONTRAST), [], scheme)
        for width in [320, 390, 700, 1280]:
            browser.size(width, 800)
            self.assertLessEqual(browser.run("return document.documentElement.scrollWidth"), width)


class TokenTest(unittest.TestCase):
    def test_a_server_with_tokens_asks_for_one(self):
        with tempfile.TemporaryDirectory() as folder:
            tokens = pathlib.Path(folder, "tokens")
            tokens.write_text("alice alices-token-1\n")
            server = Server("--tokens-file", str(tokens))
            self.addCleanup(server.close)
            browser = Browser(900, 800)
            self.addCleanup(browser.close)
            browser.open(server.url + "/")
            browser.wait("return !document.getElementById('token-form').hidden")
            for token, works in [("wrong", False), ("alices-token-1", True)]:
                browser.type("#token", token + "\n")
                hidden = browser.wait(
                    "const form = document.getElementById('token-form'), error = document.getElementById('documents-error');"
                    "return form.hidden ? error.hidden && !document.getElementById('no-documents').hidden && 'works'"
                    "  : document.getElementById('token').value === '' && !error.hidden && 'fails'")  # fmt: skip
                self.assertEqual(hidden, "works" if works else "fails")
            read_document(browser, "mine", "Alice keeps this to herself.")
            self.assertEqual(
                browser.run("return [localStorage.length, sessionStorage.length, document.cookie]"), [0, 1, ""]
            )


@unittest.skipUnless(os.environ.get("ILRE_UPDATE_SCREENSHOTS"), "makes docs/page.png when asked")
class Picture(unittest.TestCase):
    def test_picture(self):
        server = Server()
        self.addCleanup(server.close)
        browser = Browser()
        self.addCleanup(browser.close)
        browser.size(1240, 1180)
        browser.open(server.url + "/")
        bible = lambda *verses: subprocess.run(
            ["bible", "-f", *verses], capture_output=True, check=True
        ).stdout  # noqa: E731
        read_document(browser, "ruth", bible("ruth1:1-ruth4:22"))
        read_document(browser, "genesis", bible("gen1:1-gen50:26"))
        choose(browser, "genesis")
        ask(browser, "How many years did Jacob serve for Rachel?")
        browser.wait("return document.querySelector('.context') !== null")
        browser.run("document.activeElement.blur()")
        browser.screenshot(ROOT / "docs/page.png")


if __name__ == "__main__":
    BINARY = sys.argv[1]
    if not is_available():
        print("skipped: chromium and chromedriver are not installed")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
