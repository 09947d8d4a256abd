#!/usr/bin/env python3
"""`ilre calibrate` with a tiny model, --heads, --train and --write-questions: what they write, and that they go on after a
kill with the same results.

usage: calibrate_test.py ILRE
"""

import json
import pathlib
import random
import re
import shutil
import struct
import sys
import unittest

from eval_test import squad_file
from ilre_cli import Ilre, made_up_text

BINARY = ""


class CalibrateCase(unittest.TestCase):
    def setUp(self) -> None:
        self.ilre = Ilre(BINARY)
        self.addCleanup(self.ilre.close)
        self.squad = self.ilre.file("squad.json", squad_file())

    def expect_it_answers(self, profile: str) -> None:
        document = self.ilre.file("d.txt", "The cat sleeps in the barn. The dog barks at night.")
        environment = {"ILRE_PROFILE": str(self.ilre.folder / profile)}
        for arguments in (["ingest", "d", document], ["ask", "d", "Who sleeps?", "--max-tokens", "2"]):
            used = self.ilre.run(*arguments, environment=environment)
            self.assertEqual(used.returncode, 0, used.stderr)


class HeadsTest(CalibrateCase):
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
        self.expect_it_answers("whole.json")

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
        # The same questions in a file of another name are the same.
        self.squad = shutil.copy(self.squad, self.ilre.folder / "moved.json")
        self.assertEqual(self.ilre.run(*self.arguments("killed"), timeout=300).returncode, 0)
        other = self.ilre.run(*self.arguments("killed", "--seed", "3"))
        self.assertEqual(other.returncode, 1)
        self.assertIn("was begun with", other.stderr)
        path.write_bytes(path.read_bytes() + b"{}\n")
        damaged = self.ilre.run(*self.arguments("killed"))
        self.assertEqual(damaged.returncode, 1)
        self.assertIn("heads.jsonl:16 is no result", damaged.stderr)

    def test_wrong_use(self) -> None:
        for arguments, message in (
            (["--output", "x.json"], "say what to do: --train, --heads or --write-questions"),
            (["--output", "x.json", "--train", "--heads"], "say what to do: --train, --heads or --write-questions"),
            (["--output", "x.json", "--heads", "--write-questions", self.squad], "say what to do: --train, --heads or --write-questions"),
            (["--output", "no/folder/x.json", "--heads"], "no folder no/folder"),
            (["--output", "x.json", "--heads", "--holdout", "0.95"], "too few articles"),
            (["--output", "x.json", "--train", "--holdout", "0.8"], "--validation 0 trains without it"),
            (["--output", "x.json", "--train", "--pooled-layers", "0,2"], "needs --teacher"),
            (["--output", "x.json", "--train", "--report", "no/folder/x.html"], "no folder no/folder"),
        ):
            with self.subTest(arguments=arguments):
                result = self.ilre.run("calibrate", "--squad", self.squad, *arguments)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(message, result.stderr)


class WriteQuestionsTest(CalibrateCase):
    SENTENCES = 20

    def setUp(self) -> None:
        super().setUp()
        self.texts = [self.ilre.file(f"{name}.txt", made_up_text(20_000, seed)) for seed, name in enumerate("ab")]

    def arguments(self, name: str, most: int = SENTENCES) -> list[str]:
        return [
            "calibrate", "--write-questions", *self.texts, "--most", str(most), "--work", f"{name}-work",
            "--output", f"{name}.json",
        ]  # fmt: skip

    def write(self, name: str) -> tuple[str, list[dict[str, object]]]:
        """-> what it says, and the paragraphs of the file."""
        result = self.ilre.run(*self.arguments(name), timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        data = json.loads((self.ilre.folder / f"{name}.json").read_text(encoding="utf-8"))["data"]
        return result.stdout, [paragraph for article in data for paragraph in article["paragraphs"]]

    def test_questions_stand_where_they_were_asked(self) -> None:
        _, paragraphs = self.write("whole")
        texts = "".join(pathlib.Path(text).read_text(encoding="utf-8") for text in self.texts)
        joined = "".join(str(paragraph["context"]) for paragraph in paragraphs)
        self.assertEqual("".join(joined.split()), "".join(texts.split()))
        # A tiny model writes no questions: these are put into its mouth. Two of them are the same.
        path = self.ilre.folder / "whole-work/questions.jsonl"
        settings, *lines = path.read_text(encoding="utf-8").splitlines()
        self.assertEqual(len(lines), self.SENTENCES)
        said = {json.loads(line)["segment"]: f"What is {max(1, i)}?" for i, line in enumerate(lines)}
        written = [json.dumps({"segment": segment, "question": question}) for segment, question in said.items()]
        path.write_text("\n".join([settings, *written]) + "\n", encoding="utf-8")
        output, paragraphs = self.write("whole")
        self.assertIn(f"{self.SENTENCES - 2} questions about {self.SENTENCES} of ", output)
        asked = [(qa["question"], paragraph["context"], *qa["answers"]) for paragraph in paragraphs for qa in paragraph["qas"]]  # type: ignore[attr-defined]
        self.assertEqual([question for question, *_ in asked], [said[s] for s in sorted(said) if said[s] != "What is 1?"])
        for _, context, answer in asked:
            self.assertTrue(context[answer["answer_start"] :].startswith(answer["text"]))
            self.assertEqual(answer["text"], answer["text"].strip())
        # Beside questions of people.
        heads = ["calibrate", "--heads", "--squad", self.squad, "whole.json", "--lengths", "400", "--texts", "1", "--output", "h.json"]
        both = self.ilre.run(*heads, timeout=120)
        self.assertEqual(both.returncode, 0, both.stderr)

    def test_it_goes_on_after_a_kill(self) -> None:
        whole = self.write("whole")
        path = self.ilre.folder / "killed-work/questions.jsonl"
        self.ilre.kill_after_lines(path, 4, *self.arguments("killed"))
        path.write_bytes(path.read_bytes() + b'{"segment": 1, "qu')
        output, paragraphs = self.write("killed")
        self.assertEqual((output.replace("killed", "whole"), paragraphs), whole)
        self.assertEqual(path.read_bytes().count(b"\n"), 1 + self.SENTENCES)
        # More of the same is added to what is there.
        more = self.ilre.run(*self.arguments("killed", self.SENTENCES + 5), timeout=120)
        self.assertEqual(more.returncode, 0, more.stderr)
        self.assertEqual(path.read_bytes().count(b"\n"), 1 + self.SENTENCES + 5)
        self.ilre.file("a.txt", "Another text that nobody has asked about so far. It is short.")
        other = self.ilre.run(*self.arguments("killed"))
        self.assertEqual(other.returncode, 1)
        self.assertIn("was begun with", other.stderr)

    def test_wrong_use(self) -> None:
        empty, broken = self.ilre.file("empty.txt", "\n"), self.ilre.file("broken.txt", b"good \xff bad")
        for arguments, message in (
            (["--write-questions", empty], "no sentence to ask about"),
            (["--write-questions", broken], "broken.txt is not UTF-8 at byte 5"),
            (["--write-questions", "nowhere.txt"], "nowhere.txt"),
            (["--train"], "--squad"),
        ):
            with self.subTest(arguments=arguments):
                result = self.ilre.run("calibrate", "--output", "x.json", *arguments)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(message, result.stderr)
                self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)


class TrainTest(CalibrateCase):
    def setUp(self) -> None:
        super().setUp()
        # libtorch's threads wait for each other at every step: beside other tests that takes many times as long as one.
        self.ilre.environment["OMP_NUM_THREADS"] = "1"
        self.teacher = self.ilre.folder / "teacher"
        self.teacher.mkdir()
        made = {"documents": ["A red fox ran. A lamp burned in the hall."], "questions": ["What burned?", "Who ran?"]}
        sentences = ["A red fox ran.", "A lamp burned in the hall.", *made["questions"]]
        for i in range(8):
            sentences += [f"The town of Alba{i} lies in the hills.", f"Its mayor is called Borin{i}, a baker."]
            sentences.append(f"Who is mayor of Alba{i}?")
        (self.teacher / "texts.json").write_text(json.dumps(made | {"sentences": sentences}), encoding="utf-8")
        rng = random.Random(5)
        vectors = b"".join(struct.pack("<f", rng.gauss(0, 1)) for _ in range(len(sentences) * 16))
        entry = {"dtype": "F32", "shape": [len(sentences), 16], "data_offsets": [0, len(vectors)]}
        header = json.dumps({"vectors": entry}).encode()
        (self.teacher / "vectors.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + vectors)

    def arguments(self, name: str, *more: str) -> list[str]:
        return [
            "calibrate", "--train", "--squad", self.squad, "--teacher", str(self.teacher), "--layer", "1", "--dim", "8",
            "--steps", "6", "--pooled-steps", "4", "--needle-texts", "1", "--pooled-layers", "0,1", "--pooled-layers", "2",
            "--pooled-dim", "4,8", "--work", f"{name}-work", "--output", f"{name}.json", "--report", f"{name}.html", *more,
        ]  # fmt: skip

    def outputs(self, name: str) -> list[bytes]:
        folder = self.ilre.folder
        files = [f"{name}-work/train.jsonl", f"{name}.json", f"{name}.safetensors", f"{name}.html"]
        return [(folder / file).read_bytes().replace(name.encode(), b"NAME") for file in files]

    def test_one_command_trains_all_heads_and_goes_on_after_a_kill(self) -> None:
        whole = self.ilre.run(*self.arguments("whole"), timeout=300)
        if "DEVICE_UNAVAILABLE" in whole.stderr or "libilre_torch" in whole.stderr:
            self.skipTest("built without libtorch")
        self.assertEqual(whole.returncode, 0, whole.stderr)
        log, profile, _, page = [output.decode(errors="replace") for output in self.outputs("whole")]
        trained = [json.loads(line) for line in log.splitlines()[1:]]
        self.assertEqual([head["name"] for head in trained], ["probe-1", "pooled-0-1", "pooled-2"])
        for head in trained:
            self.assertIn(head["steps"], [point["step"] for point in head["validation"]])
            self.assertEqual(head["held_out"][-1]["step"], head["steps"])
        heads = json.loads(profile)["heads"]
        self.assertEqual([head["kind"] for head in heads], ["probe", "pooled"])
        self.assertEqual(json.loads(profile)["lexical"]["power"], 3)
        self.assertEqual(len(re.findall(r"pooled head of layers? \S+, [48] dimensions", whole.stdout)), 4 + 1)
        self.assertNotRegex(page, r"<script|https?://|javascript:")
        self.assertEqual(len(re.findall(r"<svg ", page)), 2 + 3 * 4)
        self.expect_it_answers("whole.json")

        self.ilre.kill_after_lines(self.ilre.folder / "killed-work/train.jsonl", 3, *self.arguments("killed"))
        self.squad = shutil.copy(self.squad, self.ilre.folder / "moved.json")
        resumed = self.ilre.run(*self.arguments("killed"), timeout=300)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertNotIn("probe-1: step", resumed.stderr)
        self.assertEqual(self.outputs("killed"), self.outputs("whole"))
        self.assertEqual(resumed.stdout.replace("killed", "whole"), whole.stdout)
        other = self.ilre.run(*self.arguments("killed", "--seed", "3"))
        self.assertEqual(other.returncode, 1)
        self.assertIn("was begun with", other.stderr)
        too_deep = self.ilre.run(*self.arguments("killed", "--pooled-layers", "0,77"))
        self.assertIn("the model has inputs of layers 1 to 2", too_deep.stderr)
        wrong = self.ilre.run(*self.arguments("killed", "--pooled-layers", "2,0"))
        self.assertIn("not layers in ascending order", wrong.stderr)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main()
