"""Runs the `ilre` program on a model of a few thousand weights, for tests of the command line and of crashes."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "tests/model/data/tiny-llama.gguf"
PROFILE = {
    "format": 1, "name": "tiny", "prefix": "<|start|>", "window": 64, "max_segment": 40, "question_prefix": "\n",
    "heads": [{"kind": "key", "layer": 1, "dim": 8, "key_head": 0, "query_heads": [0, 1]}],
    "scoring": "max_sim", "lexical": {"weight": 0.7}, "budget": 200,
}  # fmt: skip
# What an ingest that takes long prints now and then.
PROGRESS = re.compile(r"^\S+ +([0-9]+%|[0-9.]+ MB)  [0-9,]+ (tokens|questions)( .*)?\n$")


class Ilre:
    """A folder with its own store and profile; removed by close()."""

    def __init__(self, binary: str):
        self.binary = str(pathlib.Path(binary).resolve())
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ilre-cli-test-"))
        self.data = self.folder / "data"
        self.environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
            "ILRE_MODEL": str(MODEL), "ILRE_PROFILE": str(self.folder / "tiny.json"), "ILRE_DATA_DIR": str(self.data),
        }  # fmt: skip
        self.write_profile(model="0" * 16)
        # The error of a profile that is not the model's names the model's fingerprint.
        refusal = self.run("ingest", "x", self.file("x.txt", "x")).stderr
        self.write_profile(model=re.search(r"[0-9a-f]{16}\s*$", refusal).group().strip())
        shutil.rmtree(self.data)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_profile(self, name="tiny.json", **changes) -> str:
        return self.file(name, json.dumps(PROFILE | getattr(self, "fingerprint", {}) | changes), remember=changes)

    def file(self, name: str, content: str | bytes, remember=None) -> str:
        """Writes a file of the folder; its path."""
        if remember and "model" in remember:
            self.fingerprint = {"model": remember["model"]}
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        """Starts `ilre`; its data folder and model are this object's unless the environment says otherwise."""
        environment = self.environment | options.pop("environment", {})
        return subprocess.Popen(
            [self.binary, *map(os.fsencode, arguments)], env=environment, cwd=self.folder,
            stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def kill_after_lines(self, path: pathlib.Path, lines: int, *arguments: str) -> None:
        """Runs it until the file has so many lines, or to its end if that comes first."""
        process = self.start(*arguments)
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.005)
        process.kill()
        process.communicate()

    def run(self, *arguments: str, input: str | bytes | None = None, timeout: float = 60, **options):
        """Runs it to its end. -> CompletedProcess with text."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
            input = input.encode() if isinstance(input, str) else input
        process = self.start(*arguments, **options)
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            stdout, stderr = process.communicate()
            raise AssertionError(f"ilre {' '.join(map(str, arguments))} ran for {timeout} s") from None
        errors = "".join(line for line in stderr.decode("utf-8").splitlines(True) if not PROGRESS.match(line))
        return subprocess.CompletedProcess(process.args, process.returncode, stdout.decode("utf-8"), errors)

    def show(self, name: str) -> dict:
        """The document's row; {} if there is none."""
        result = self.run("documents", "show", name, "--json")
        return json.loads(result.stdout) if result.returncode == 0 else {}

    def checksums(self, name: str) -> list[str]:
        """A line for each stored block."""
        result = self.run("inspect", name, "--checksums")
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()


def made_up_text(size: int, seed: int = 1) -> str:
    """Prose of at least `size` bytes with accents, signs and long lines."""
    words = "harbour lamp seven été north 42 a paper ab abc Kästen river 漢字 stone the better under 😀 letter".split()
    generator = random.Random(seed)
    sentences = []
    total = 0
    while total < size:
        count = 60 if generator.random() < 0.03 else generator.randint(1, 12)
        sentence = " ".join(generator.choices(words, k=count)) + generator.choice([". ", "! ", "? ", ".\n", "\n\n"])
        sentences.append(sentence)
        total += len(sentence.encode())
    return "".join(sentences)
