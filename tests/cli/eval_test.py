#!/usr/bin/env python3
"""`ilre eval` with a tiny model: it goes on after a kill with the same results, and wrong use gets one clear line.

usage: eval_test.py ILRE
"""

import json
import pathlib
import sys
import unittest

from ilre_cli import ROOT, Ilre, made_up_text

BINARY = ""
TASKS = "niah_single_1,niah_multikey_2,vt,qa_1"


def squad_file() -> str:
    articles = []
    for i in range(8):
        context = f"The town of Alba{i} lies in the hills. Its mayor is called Borin{i}, a baker."
        at = context.index("Borin")
        answers = [{"text": f"Borin{i}", "answer_start": at}]
        articles.append({"title": str(i), "paragraphs": [{"context": context, "qas": [{"question": f"Who is mayor of Alba{i}?", "answers": answers}]}]})  # fmt: skip
    return json.dumps({"data": articles})


class EvalTest(unittest.TestCase):
    def setUp(self) -> None:
        self.ilre = Ilre(BINARY)
        self.addCleanup(self.ilre.close)
        self.inputs = ["--prose", self.ilre.file("prose.txt", made_up_text(60_000)), "--squad", self.ilre.file("squad.json", squad_file())]  # fmt: skip

    def arguments(self, output: str, *more: str) -> list[str]:
        return [
            "eval", "--output", output, *self.inputs, "--lengths", "2048", "--samples", "3", "--tasks", TASKS,
            "--modes", "default,one-look,no-lexical,bm25,window", "--budget", "64,200", "--recall-only", *more,
        ]  # fmt: skip

    def results(self, output: str) -> list[dict[str, object]]:
        lines = (self.ilre.folder / output / "results.jsonl").read_text(encoding="utf-8").splitlines()[1:]
        results = [result for result in map(json.loads, lines) if "task" in result]
        for result in results:
            del result["retrieval_ms"]
        return results

    def assert_other_settings(self, output: str, *more: str) -> None:
        result = self.ilre.run(*self.arguments(output, *more))
        self.assertEqual(result.returncode, 1)
        self.assertIn("was begun with", result.stderr)

    def test_a_killed_evaluation_goes_on(self) -> None:
        whole = self.ilre.run(*self.arguments("whole"), timeout=300)
        self.assertEqual(whole.returncode, 0, whole.stderr)
        expected = self.results("whole")
        self.assertEqual(len(expected), 4 * 3 * 5 * 2)
        path = self.ilre.folder / "killed/results.jsonl"
        for wanted_lines in (3, 30, 90):
            self.ilre.kill_after_lines(path, wanted_lines, *self.arguments("killed"))
        # Whatever the kills hit: as after one in the middle of a line.
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:51]) + b'\n{"task": "vt", "mo')
        resumed = self.ilre.run(*self.arguments("killed"), timeout=300)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertEqual(self.results("killed"), expected)
        self.assertEqual(resumed.stdout, whole.stdout)
        for name in ("summary.csv", "summary.json", "score_by_length.svg", "needles_by_length.svg"):
            self.assertEqual(
                (self.ilre.folder / "killed" / name).read_bytes(), (self.ilre.folder / "whole" / name).read_bytes()
            )
        again = self.ilre.run(*self.arguments("killed"), timeout=300)
        self.assertEqual(again.stdout, whole.stdout)
        self.assert_other_settings("killed", "--seed", "3")
        self.assert_other_settings("killed", "--holdout", "0.5")
        self.assert_other_settings("killed", "--profile", self.ilre.write_profile("other.json", neighbour_weight=0.1))
        self.ilre.file("squad.json", squad_file().replace("baker", "miller"))
        self.assert_other_settings("killed")

    def test_other_profiles_are_modes_of_their_own(self) -> None:
        same = f"same={self.ilre.write_profile('same.json')}"
        other = f"other={self.ilre.write_profile('other.json', neighbour_weight=0.9)}"
        arguments = ["eval", "--output", "compared", *self.inputs, "--lengths", "2048", "--samples", "2", "--tasks", TASKS, "--budget", "64", "--recall-only"]  # fmt: skip
        result = self.ilre.run(*arguments, "--compare", same)
        self.assertEqual(result.returncode, 0, result.stderr)
        more = [*arguments, "--compare", other, "--modes", "other"]
        joined = self.ilre.run(*more)
        self.assertEqual(joined.returncode, 0, joined.stderr)
        by_mode: dict[object, list[dict[str, object]]] = {}
        for r in self.results("compared"):
            by_mode.setdefault(r.pop("mode"), []).append(r)
        self.assertEqual(by_mode["default"], by_mode["same"])
        self.assertEqual(len(by_mode["default"]), len(by_mode["other"]))
        self.assertNotEqual(by_mode["default"], by_mode["other"])
        # What the mode was is remembered, the weights beside it too.
        for neighbour_weight, has_weights in ((0.5, False), (0.9, True)):
            self.ilre.write_profile("other.json", neighbour_weight=neighbour_weight)
            if has_weights:
                self.ilre.file("other.safetensors", "weights")
            changed = self.ilre.run(*more)
            self.assertEqual(changed.returncode, 1)
            self.assertIn("mode other was begun with", changed.stderr)

    def test_another_retriever_is_a_mode_of_its_own(self) -> None:
        arguments = ["eval", "--output", "chosen", *self.inputs, "--lengths", "2048", "--samples", "2", "--tasks", "niah_single_1,qa_1", "--budget", "64", "--recall-only"]  # fmt: skip
        written = self.ilre.run(*arguments, "--write-samples")
        self.assertEqual((written.returncode, written.stdout), (0, ""), written.stderr)
        samples = [json.loads(line) for line in (self.ilre.folder / "chosen/samples.jsonl").open(encoding="utf-8")]
        self.assertEqual(len(samples), 4)

        def ranges(sample: dict[str, object], all_of_it: bool) -> str:
            key = {name: sample[name] for name in ("task", "length", "index")}
            bounds = [segment[:2] for segment in sample["segments"]] if all_of_it else []
            return json.dumps({**key, "budget": 64, "ranges": bounds}) + "\n"

        whole = self.ilre.file("whole.jsonl", "".join(ranges(sample, True) for sample in samples))
        nothing = self.ilre.file("nothing.jsonl", "".join(ranges(sample, False) for sample in samples))
        more = ["--chosen", f"whole={whole}", "--chosen", f"nothing={nothing}"]
        result = self.ilre.run(*arguments, *more)
        self.assertEqual(result.returncode, 0, result.stderr)
        results = self.results("chosen")
        self.assertEqual([r["mode"] for r in results].count("default"), 4)
        for r in results:
            if r["mode"] != "default":
                self.assertEqual(r["needles"], 1 if r["mode"] == "whole" else 0)
                self.assertEqual(r["context_tokens"] > 1500, r["mode"] == "whole")
        self.ilre.file("nothing.jsonl", "".join(ranges(sample, True) for sample in samples))
        changed = self.ilre.run(*arguments, *more)
        self.assertEqual(changed.returncode, 1)
        self.assertIn("mode nothing was begun with", changed.stderr)
        # Of one sample alone: nothing is asked.
        one = self.ilre.file("one.jsonl", ranges(samples[0], False))
        missing = self.ilre.run(*(a.replace("chosen", "missing") for a in arguments), "--chosen", f"other={one}")
        self.assertFalse((self.ilre.folder / "missing/results.jsonl").exists())
        self.assertEqual(missing.returncode, 1)
        self.assertIn("one.jsonl has no ranges of task qa_1, length 2048, index 0, budget 64", missing.stderr)

    def test_a_collection_is_asked_as_its_text_is(self) -> None:
        arguments = [*self.inputs, "--squad-tokens", "6000", "--holdout", "0.5", "--budget", "100,300", "--recall-only", "--modes", "bm25"]  # fmt: skip
        for output, more in (("one", []), ("several", ["--collection"])):
            result = self.ilre.run("eval", "--output", output, *arguments, *more)
            self.assertEqual(result.returncode, 0, result.stderr)
        one, several = self.results("one"), self.results("several")
        self.assertEqual(len(several), 8)
        # Words do not ask what document they are in; each document begins a block of its own.
        for a, b in zip(one, several, strict=True):
            self.assertEqual((a["index"], a["budget"]), (b["index"], b["budget"]))
            self.assertAlmostEqual(a["recalled"], b["recalled"])
            self.assertGreater(a["document_tokens"], 4000)
            self.assertAlmostEqual(a["document_tokens"], b["document_tokens"], delta=50)
        mixed = self.ilre.run("eval", "--output", "one", *arguments, "--collection")
        self.assertEqual(mixed.returncode, 1)
        self.assertIn("was begun with", mixed.stderr)

    def test_two_hop_questions(self) -> None:
        two_hop = ["--hotpot", str(ROOT / "bench/data/two_hop.json")]
        arguments = [*self.inputs[:2], "--lengths", "2048", "--modes", "bm25", "--budget", "16,3000", "--recall-only"]
        result = self.ilre.run("eval", "--output", "two", *arguments, *two_hop, "--tasks", "qa_2", "--samples", "6")
        self.assertEqual(result.returncode, 0, result.stderr)
        results = self.results("two")
        self.assertEqual(len(results), 12)
        for r in results:
            self.assertEqual(r["recalled"], 0 if r["budget"] == 16 else 1, "two sentences, somewhere in the text")
        # Without a file the task is left out, which is said.
        without = self.ilre.run("eval", "--output", "without", *arguments, "--samples", "1")
        self.assertIn("without qa_2: no file of questions (--hotpot)", without.stderr)
        self.assertNotIn("qa_2", {r["task"] for r in self.results("without")})

    def test_rivals_that_read_everything_keep_to_the_models_context(self) -> None:
        lines = [
            {"document": "The cat sleeps. The dog barks. " * count, "question": "Who?", "answers": ["cat"]} for count in (5, 100)
        ]
        file = self.ilre.file("two.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        modes = {"full", "gemfilter", "snapkv"}
        arguments = ["--questions", file, "--budget", "20", "--modes", ",".join(sorted(modes))]
        result = self.ilre.run("eval", "--output", "rivals", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        results = self.results("rivals")
        self.assertEqual({(r["mode"], r["index"]) for r in results}, {(mode, 0) for mode in modes})
        for r in results:
            if r["mode"] != "full":
                self.assertEqual((r["context_tokens"], r["recalled_tokens"]), (20, 20))

    def test_users_own_questions_are_answered(self) -> None:
        lines = [
            {"document": "The cat sleeps. The dog barks.", "question": "Who sleeps?", "answers": ["cat"]},
            {"document": "Snow is white.", "question": "What is white?", "answers": ["Snow", "snow"]},
        ]
        file = self.ilre.file("mine.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        result = self.ilre.run("eval", "--output", "mine", "--questions", file, "--modes", "default,full", "--budget", "50")
        self.assertEqual(result.returncode, 0, result.stderr)
        results = self.results("mine")
        self.assertEqual({(r["task"], r["index"]) for r in results}, {("questions", 0), ("questions", 1)})
        for r in results:
            self.assertIn(r["score"], (0, 1))
            self.assertEqual(r["needles"], 1, "so little text is recalled whole")

    def test_wrong_use(self) -> None:
        hotpot = self.ilre.file("hotpot.json", '[{"question": "Who?", "answer": "she", "context": []}]')
        for arguments, message in (
            (["--lengths", "4096", "--modes", "magic"], "no mode magic, nor --compare or --chosen magic=FILE"),
            (["--lengths", "4096", "--tasks", "niah"], "no task niah"),
            ([], "nothing to do"),
            (["--lengths", "4096", "--prose", "/nowhere"], "/nowhere"),
            (["--squad-tokens", "5000"], "--squad"),
            (["--lengths", "4096", "--collection"], "--squad-tokens"),
            (["--lengths", "4096", "--modes", "snapkv", "--attention-layer", "99", *self.inputs], "no layer 99"),
            (["--questions", "/nowhere"], "/nowhere"),
            (["--lengths", "4096", "--tasks", "qa_2", *self.inputs], "--hotpot"),
            (["--lengths", "4096", "--hotpot", hotpot, *self.inputs], "hotpot.json is not a HotpotQA-format file: entry 1"),
            (["--lengths", "4096", "--compare", "deep"], "deep is not NAME=PROFILE.json"),
            (["--lengths", "4096", "--compare", "bm25=a.json"], "there is a mode bm25"),
            (["--lengths", "4096", "--compare", "a=a.json", "--chosen", "a=b"], "--chosen a=b: there is a mode a"),
            (["--lengths", "4096", "--chosen", "a=/nowhere.jsonl", *self.inputs], "cannot open /nowhere.jsonl"),
            (["--lengths", "4096", "--compare", "a=a.json", "--modes", "full"], "a is not among the modes"),
            (["--lengths", "4096", "--compare", "a=/nowhere.json", *self.inputs], "/nowhere.json"),
        ):
            with self.subTest(arguments=arguments):
                result = self.ilre.run("eval", "--output", "wrong", *arguments)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(message, result.stderr)
                self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        self.assertEqual(self.ilre.run("eval", "--lengths", "4096").returncode, 2)
        self.assertEqual(self.ilre.run("eval", "--output", "x", "--lengths", "3").returncode, 2)


if __name__ == "__main__":
    BINARY = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=2)
