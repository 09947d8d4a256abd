#!/usr/bin/env python3
"""The page that `ilre ask --report` writes, in headless Chromium: hostile text stays text, nothing is loaded, it can be used
with the keyboard, and its colours can be read.

Usage: report_test.py PATH_OF_ILRE [unittest arguments]. Exit status 77 (skipped) where there is no Chromium. With
ILRE_UPDATE_SCREENSHOTS=1 it also makes docs/report.png, from the default model and the book of Genesis.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/cli"))

from ilre_cli import Ilre, made_up_text  # noqa: E402
from webdriver import MAKES_MARKUP, WEAK_CONTRAST, Browser, is_available  # noqa: E402

BINARY = ""
HOSTILE = (
    "The first line of the text.\n"
    '</script><script>window.pwned = 1</script> <img src=x onerror="window.pwned = 2"> is the password `"\'&quot;.\n'
    "--><!--<script> ]]> ${window.pwned = 3} \\u003c/script\\u003e {{pwned}} &lt;b&gt;\n"
    "Order: \u202egnp.exe\u202c, \u2066isolated\u2069, \u200f; bell \x07, escape \x1b[31m, delete \x7f, next line \x85.\n"
    "Separators \u2028 and \u2029, a byte order mark \ufeff, carriage\r\nreturn.\n"
    "\u05d4\u05e1\u05d9\u05e1\u05de\u05d4 \u05d4\u05d9\u05d0 9911. \u5bb6\u306e\u5730\u4e0b\u3002 "
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\n"
)
QUESTION = "What is the </script><b onclick='window.pwned = 4'>password</b> & \"key\"?\u202e\x07"
SCRIPTS_AND_HANDLERS = """
return document.querySelectorAll('main script, img, iframe, object, embed, link, base, form, [style*=url]').length +
  [...document.querySelectorAll('*')].filter((e) => [...e.attributes].some((a) => /^on/i.test(a.name))).length
"""


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ilre = Ilre(BINARY)
        cls.addClassCleanup(cls.ilre.close)
        cls.ilre.write_profile(lexical={"weight": 100})  # the tiny model has no idea; words shall decide
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.ingest("hostile", HOSTILE + made_up_text(20000))
        cls.ingest("plain", made_up_text(60000))
        cls.report = cls.ask("hostile", "plain", QUESTION, "--max-tokens", "12")

    @classmethod
    def ingest(cls, name: str, text: str):
        result = cls.ilre.run("ingest", name, cls.ilre.file(f"{name}.txt", text.encode()))
        assert result.returncode == 0, result.stderr

    @classmethod
    def ask(cls, *arguments: str) -> pathlib.Path:
        path = cls.ilre.folder / f"report-{len(list(cls.ilre.folder.glob('report-*')))}.html"
        result = cls.ilre.run("ask", *arguments, "--budget", "300", "--report", str(path))
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        assert f"Report: {path}\n" in result.stdout, result.stdout
        return path

    def open(self, path: pathlib.Path):
        self.browser.complaints()
        self.browser.open(path.as_uri())
        self.browser.wait("return document.querySelector('.foot') && document.querySelectorAll('.map').length > 0")

    def test_hostile_text_stays_text(self):
        page = self.report.read_bytes().decode("utf-8")  # valid UTF-8
        self.assertEqual(page.count("</script"), 4, "the data's and three of the page's own")
        self.assertEqual(re.findall(r"<(?:img|iframe|link|object)\b", page.split('id="data"')[0]), [])
        self.open(self.report)
        self.assertTrue(
            self.browser.run(
                "return document.querySelector('#report').textContent.includes('<script>window.pwned = 1</script>')"
            )
        )
        self.assertIsNone(self.browser.run("return window.pwned ?? null"))
        self.assertEqual(self.browser.run(SCRIPTS_AND_HANDLERS), 0)
        self.assertEqual(self.browser.complaints(), [])
        self.assertIn("What is the </script><b onclick='window.pwned = 4'>password</b>", self.browser.text("h1"))
        self.assertIn("<U+202E><U+0007>", self.browser.text("h1"))

    def test_what_is_invisible_is_shown_by_its_code(self):
        self.open(self.report)
        # Whatever this model recalls of it: drawn by the function that draws every passage.
        shown = self.browser.run(
            "const p = document.createElement('p'); p.append(...Ilre.visible(arguments[0]));"
            "return {text: p.textContent, codes: p.querySelectorAll('.control').length}", HOSTILE)  # fmt: skip
        for code in ["202E", "202C", "2066", "2069", "200F", "0007", "001B", "007F", "0085", "2028", "2029", "FEFF"]:
            self.assertIn(f"U+{code}", shown["text"])
        self.assertEqual(shown["codes"], 12)
        self.assertIn("carriage\nreturn", shown["text"])
        self.assertIn("\U0001f469\u200d\U0001f469", shown["text"])

    def test_it_loads_nothing(self):
        self.open(self.report)
        self.assertEqual(self.browser.run("return performance.getEntriesByType('resource').map((e) => e.name)"), [])
        blocked = self.browser.run(
            "return new Promise((done) => { document.addEventListener('securitypolicyviolation',"
            "  (e) => done(e.effectiveDirective), {once: true}); new Image().src = 'http://127.0.0.1:9/x.png'; })")  # fmt: skip
        self.assertEqual(blocked, "img-src")
        self.assertEqual(self.browser.run(MAKES_MARKUP), "TypeError")

    def test_passages_are_those_of_the_answer(self):
        self.open(self.report)
        data = json.loads(self.browser.text("#data"))
        answer = json.loads(self.ilre.run("ask", "hostile", "plain", QUESTION, "--max-tokens", "12", "--budget", "300",
                                          "--json").stdout)  # fmt: skip
        places = lambda spans, begin, end: [(s["document"], s[begin], s[end]) for s in spans]  # noqa: E731
        self.assertEqual(places(data["recalled"], "byteBegin", "byteEnd"),
                         places(answer["spans"], "byte_begin", "byte_end"))  # fmt: skip
        texts = {
            "default/hostile": (HOSTILE + made_up_text(20000)).encode(),
            "default/plain": made_up_text(60000).encode(),
        }
        for span in data["recalled"] + data["nearMisses"]:
            text = texts[span["document"]]
            self.assertEqual(span["text"], text[span["byteBegin"] : span["byteEnd"]].decode("utf-8", "replace"))
            # A span may begin or end within a character, and so does what is around it.
            before = span["before"].removeprefix("\u2026").rstrip("\ufffd")
            self.assertTrue(text[: span["byteBegin"]].decode("utf-8", "ignore").endswith(before))
            after = span["after"].removesuffix("\u2026").lstrip("\ufffd")
            self.assertTrue(text[span["byteEnd"] :].decode("utf-8", "ignore").startswith(after))
            self.assertGreater(len(before) + len(after), 200)
        self.assertEqual(len(data["nearMisses"]), 8)
        self.assertEqual(self.browser.count(".passages > .passage:not(.missed)"), len(data["recalled"]))
        self.assertEqual(self.browser.count(".mark[data-id]"), len(data["recalled"]))
        recalled = {(s["document"], s["tokenBegin"]) for s in data["recalled"]}
        self.assertFalse([s for s in data["nearMisses"] if (s["document"], s["tokenBegin"]) in recalled])

    def test_mouse_and_keyboard_reach_everything(self):
        self.open(self.report)
        browser = self.browser
        stage = "document.querySelector('.map-stage')"
        press = lambda key: browser.run(  # noqa: E731
            f"{stage}.focus(); {stage}.dispatchEvent(new KeyboardEvent('keydown', {{key: arguments[0], bubbles: true}}))", key)  # fmt: skip
        labels = lambda: browser.run(  # noqa: E731
            "return [...document.querySelectorAll('.map-axis')[0].children].map((e) => e.textContent)")  # fmt: skip
        self.assertEqual(labels(), ["0.0 %", "50.0 %", "100.0 %"])
        press("+")
        self.assertEqual(labels(), ["25.0 %", "50.0 %", "75.0 %"])
        press("ArrowLeft")
        self.assertEqual(labels()[0], "18.8 %")
        press("Home")
        self.assertEqual(labels(), ["0.0 %", "25.0 %", "50.0 %"])
        browser.click("button[title='Whole document']")
        self.assertEqual(labels(), ["0.0 %", "50.0 %", "100.0 %"])
        press("n")
        press("Enter")
        selected = browser.run("return document.activeElement.id")
        self.assertTrue(selected.startswith("passage-"))
        self.assertEqual(browser.count(".passage.selected"), 1)
        browser.click(f"#{selected} .where")
        browser.wait("return document.activeElement.classList.contains('map-stage')")
        browser.click(".choices button:last-child")
        first = browser.run("return document.querySelector('.passages > li').id")
        self.assertEqual(first, "passage-1")

    def test_colours_can_be_read_and_nothing_sticks_out(self):
        self.open(self.report)
        self.browser.run("for (const e of document.querySelectorAll('details')) e.open = true")
        self.addCleanup(self.browser.color_scheme, "")
        self.addCleanup(self.browser.devtools, "Emulation.clearDeviceMetricsOverride")
        for scheme in ["light", "dark"]:
            self.browser.color_scheme(scheme)
            self.assertEqual(self.browser.run(WEAK_CONTRAST), [], scheme)
        for width in [320, 390, 1280]:
            self.browser.size(width, 800)
            wide = self.browser.run("return document.documentElement.scrollWidth")
            self.assertLessEqual(wide, width)

    def test_without_an_answer_and_with_json(self):
        path = self.ask("plain", "Anything?", "--max-tokens", "0")
        self.open(path)
        self.assertEqual(self.browser.count(".answer"), 0)
        self.assertIn("was recalled", self.browser.text(".figures"))
        result = self.ilre.run("ask", "plain", "Anything?", "--max-tokens", "3", "--json", "--report", str(path))
        self.assertEqual(len(result.stdout.splitlines()), 1)
        self.assertIn("answer", json.loads(result.stdout))

    def test_what_cannot_be_written_is_said(self):
        result = self.ilre.run("ask", "plain", "Anything?", "--max-tokens", "1", "--report", "/nowhere/report.html")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\Ailre: [^\n]*/nowhere/report.html[^\n]*\n\Z")
        self.assertEqual(self.ilre.run("ask", "--batch", "f", "--report", "x.html").returncode, 2)


@unittest.skipUnless(os.environ.get("ILRE_UPDATE_SCREENSHOTS"), "makes docs/report.png when asked")
class Picture(unittest.TestCase):
    def test_picture(self):
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder, "genesis.txt")
            text.write_bytes(subprocess.run(["bible", "-f", "gen1:1-gen50:26"], capture_output=True, check=True).stdout)
            report = pathlib.Path(folder, "report.html")
            run = lambda *arguments: subprocess.run(  # noqa: E731
                [BINARY, "--data-dir", f"{folder}/data", *arguments], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
            run("ingest", "genesis", str(text))
            run("ask", "genesis", "How many years did Jacob serve for Rachel?", "--report", str(report))
            browser = Browser()
            self.addCleanup(browser.close)
            browser.size(1000, 1180)
            browser.open(report.as_uri())
            browser.wait("return document.querySelector('.foot')")
            browser.screenshot(ROOT / "docs/report.png")


if __name__ == "__main__":
    BINARY = sys.argv[1]
    if not is_available():
        print("skipped: chromium and chromedriver are not installed")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
