#!/usr/bin/env python3
"""`ilre calibrate --heads` with a tiny model: the profile and the page that it writes, and that it goes on after a kill with
the same results.

usage: calibrate_test.py ILRE
"""

import json
import re
import sys
import unittest

from eval_test import squad_file
from ilre_cli import Ilre

BINARY = ""


class CalibrateTest(unittest.TestCase):
    def setUp(self) -> None:
        self.ilre = Ilre(BINARY)
        self.addCleanup(self.ilre.close)
        self.squad = self.ilre.file("squad.json", squad_file())

    def arguments(self, name: str, *more: str) -> list[str]:
        return [
            "calibrate", "--heads", "--squad", self.squad, "--lengths", "400,1200", "--texts", "6", "--questions", "8",
            "--budget", "64", "--work", f"{name}-work", "--output", f"{name}.json", "--report", f"{name}.html", *more,
        ]  # fmt: skip

    def outputs(self, name: str) -> list[str]:
        folder = self.ilre.folder
        files = [folder / f"{name}-work/heads.jsonl", folder / f"{name}.json", folder / f"{name}.html"]
        return [file.read_text(encoding="utf-8").replace(name, "NAME") for file in files]

    def test_it_writes_a_profile_that_answers_and_a_page(self) -> None:
        result = self.ilre.run(*self.arguments("whole"), timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines, profile, page = self.outputs("whole")
        results = [json.loads(line) for line in lines.splitlines()[1:]]
        self.assertEqual(len(results), 2 * (6 + 1))
        for line in results:
            self.assertGreater(line["questions"], 0)
            for layer in line["layers"]:
                for recall in layer["query_heads"] + layer["key_heads"] + layer["all_and_published"]:
                    self.assertTrue(0 <= recall <= line["questions"] + 1e-6, recall)
        head = json.loads(profile)["heads"][0]
        self.assertEqual(head["kind"], "key")
        self.assertIn(f"Chosen: layer {head['layer']}, query head", result.stdout)
        self.assertIn("The published selection: layer", result.stdout)
        self.assertIn(f"<h1>Layer {head['layer']}, query head", page)
        self.assertNotRegex(page, r"<script|https?://|javascript:")
        self.assertEqual(len(re.findall(r"<svg ", page)), 1 + 4, "curves, and a heat map of each kind and length")
        # The profile is one that the other commands take.
        document = self.ilre.file("d.txt", "The cat sleeps in the barn. The dog barks at night.")
        environment = {"ILRE_PROFILE": str(self.ilre.folder / "whole.json")}
        for arguments in (["ingest", "d", document], ["ask", "d", "Who sleeps?", "--max-tokens", "2"]):
            used = self.ilre.run(*arguments, environment=environment)
            self.assertEqual(used.returncode, 0, used.stderr)

    def test_a_killed_calibration_goes_on(self) -> None:
        whole = self.ilre.run(*self.arguments("whole"), timeout=300)
        self.assertEqual(whole.returncode, 0, whole.stderr)
        path = self.ilre.folder / "killed-work/heads.jsonl"
        self.ilre.kill_after_lines(path, 3, *self.arguments("killed"))
        # Wherever the kill hit: as after one in the middle of a line.
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:3]) + b'\n{"kind": "need')
        resumed = self.ilre.run(*self.arguments("killed"), timeout=300)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertEqual(self.outputs("killed"), self.outputs("whole"))
        self.assertEqual(resumed.stdout.replace("killed", "whole"), whole.stdout)
        other = self.ilre.run(*self.arguments("killed", "--seed", "3"))
        self.assertEqual(other.returncode, 1)
        self.assertIn("was begun with", other.stderr)
        path.write_bytes(path.read_bytes() + b"{}\n")
        damaged = self.ilre.run(*self.arguments("killed"))
        self.assertEqual(damaged.returncode, 1)
        self.assertIn("heads.jsonl:16 is no result", damaged.stderr)

    def test_wrong_use(self) -> None:
        for arguments, message in (
            (["--output", "x.json"], "--train or --heads"),
            (["--output", "x.json", "--train", "--heads"], "--train or --heads"),
            (["--output", "no/folder/x.json", "--heads"], "no folder no/folder"),
            (["--output", "x.json", "--heads", "--holdout", "0.95"], "too few articles"),
        ):
            with self.subTest(arguments=arguments):
                result = self.ilre.run("calibrate", "--squad", self.squad, *arguments)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(message, result.stderr)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main()
