#!/usr/bin/env python3
"""An installed tree works by itself: programs find model, profiles and libtorch's part where they were installed, and need
no libraries but those that the container's image has.

Usage: install_test.py BUILD_FOLDER [unittest arguments]
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
BUILD = pathlib.Path()
TEXT = "The ferry to Inchkeith leaves at seven. Dogs travel free. The captain of the ferry is called Morag Sinclair.\n"
EVERYWHERE = {"libc6", "libgcc-s1"}  # part of every Debian


def needed_libraries(program: pathlib.Path) -> set[str]:
    """Paths of the shared libraries that it names itself."""
    listing = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"\(NEEDED\).*\[(.+)\]", listing))
    loaded = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return {path for name, path in re.findall(r"(\S+) => (/\S+)", loaded) if name in names}


def packages_of(libraries: set[str]) -> set[str]:
    paths = {path: library for library in libraries for path in (library, f"/usr{library}", os.path.realpath(library))}
    found = subprocess.run(["dpkg", "-S", *paths], capture_output=True, text=True, check=False).stdout
    owners = {line.split(": ")[1]: line.split(":")[0] for line in found.splitlines()}
    known = {library for path, library in paths.items() if path in owners}
    return {owners[path] for path in paths if path in owners} | {f"no package has {path}" for path in libraries - known}


def image_packages() -> set[str]:
    """What the runtime stage of the container file installs."""
    stages = (ROOT / "container" / "Containerfile").read_text().split("\nFROM ")
    (runtime,) = [stage for stage in stages if stage.splitlines()[0].endswith(" AS runtime")]
    listed = re.search(r"--no-install-recommends \\\n(.*?)&&", runtime, re.DOTALL)[1]
    return {line.strip(" \\") for line in listed.splitlines()} - {""}


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="ilre-install-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.prefix = pathlib.Path(cls.folder.name) / "prefix"
        cls.install("runtime")

    @classmethod
    def install(cls, component):
        command = ["cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", component]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def ilre(self, *arguments):
        """As somebody runs it who has nothing else of the project, from another folder."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": self.folder.name}
        return subprocess.run(
            [self.prefix / "bin" / "ilre", *arguments],
            env=environment, cwd="/", capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def read_and_ask(self, name, *options):
        done = self.ilre("ingest", name, f"{self.folder.name}/ferry.txt", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        question = "What is the captain of the ferry called?"
        done = self.ilre("ask", name, question, "--max-tokens", "4", "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Morag Sinclair", "".join(span["text"] for span in json.loads(done.stdout)["spans"]))

    def test_programs_run_and_need_only_what_the_image_has(self):
        programs = sorted((self.prefix / "bin").iterdir())
        self.assertIn("ilre", [program.name for program in programs])
        needed = set()
        for program in programs:
            with self.subTest(program=program.name):
                done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                libraries = needed_libraries(program)
                self.assertFalse([name for name in libraries if "torch" in name or "c10" in name])
                needed |= libraries
        needed = packages_of(needed) - EVERYWHERE
        self.assertEqual(needed - image_packages(), set(), "container/Containerfile lacks these packages")
        if len(programs) == 4:
            self.assertEqual(image_packages() - needed, set(), "container/Containerfile has these for nothing")

    def test_the_model_is_found_where_it_is_installed(self):
        text = pathlib.Path(self.folder.name) / "ferry.txt"
        text.write_text(TEXT)
        done = self.ilre("ingest", "ferry", str(text))
        self.assertEqual(done.returncode, 1)
        self.assertIn("no model", done.stderr)
        self.install("model")
        if not list((self.prefix / "share" / "ilre" / "models").glob("*.gguf")):
            self.skipTest("no model: scripts/setup")
        self.read_and_ask("ferry")
        if (BUILD / "bin" / "libilre_torch.so").exists():
            self.install("torch")
            self.read_and_ask("ferry-by-torch", "--device", "torch-cpu")


if __name__ == "__main__":
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
