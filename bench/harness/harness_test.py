"""Tests of the measures themselves: they need neither the engine nor a model."""

import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest
import zlib
from typing import Any, Callable

from harness import answers, choose, comparison, folds, ilre, kill, kinds, needles, paired, paraphrases, pieces, report, rivals, squad, tasks

PROSE = [f"Sentence number {i} of a long and quiet story ends here." for i in range(500)]


def lengths() -> tasks.Lengths:
    return tasks.Lengths(lambda text: len(text.split()))


class TasksTest(unittest.TestCase):
    def test_needles_are_where_the_sample_says(self) -> None:
        for name, task in tasks.NEEDLE_TASKS.items():
            for seed in range(5):
                sample = tasks.make(name, seed, 3000, PROSE, lengths())
                self.assertEqual(len(sample.needles), task.values_per_key * task.num_queries)
                for (begin, end), answer in zip(sample.needles, sample.answers, strict=True):
                    needle = sample.document.encode()[begin:end].decode()
                    self.assertRegex(needle, rf"^[\w-]+ is: {answer}$")
                    self.assertIn(needle.split()[0], sample.question)
                    self.assertIn(needle.split()[0], sample.answer_prefix)

    def test_offsets_are_bytes(self) -> None:
        prose = ["Über alle Straßen geht 图书馆 dahin."] * 100
        sample = tasks.make("niah_single_2", 1, 3000, prose, lengths())
        begin, end = sample.needles[0]
        self.assertTrue(sample.document.encode()[begin:end].decode().endswith(sample.answers[0]))

    def test_documents_have_the_length_asked_for_and_no_more(self) -> None:
        for name in [*tasks.NEEDLE_TASKS, "vt"]:
            sample = tasks.make(name, 1, 5000, PROSE, lengths())
            self.assertLessEqual(len(sample.document.split()), 5000)
            self.assertGreater(len(sample.document.split()), 4400)

    def test_a_seed_gives_one_sample(self) -> None:
        first, again, other = (tasks.make("niah_multikey_1", seed, 3000, PROSE, lengths()) for seed in (1, 1, 2))
        self.assertEqual(first, again)
        self.assertNotEqual(first.document, other.document)

    def test_wording_is_that_of_ruler(self) -> None:
        one = tasks.wording(tasks.NEEDLE_TASKS["niah_single_3"], ["old-map"])
        self.assertEqual(one[0], "What is the special magic uuid for old-map mentioned in the provided text?")
        self.assertEqual(one[1], " The special magic uuid for old-map mentioned in the provided text is")
        many = tasks.wording(tasks.NEEDLE_TASKS["niah_multiquery"], ["a-b", "c-d", "e-f"])
        self.assertIn("all the special magic numbers for a-b, c-d, and e-f mentioned", many[0])
        self.assertTrue(many[1].endswith("are"))

    def test_chains_lead_to_their_value(self) -> None:
        sample = tasks.make("vt", 3, 3000, PROSE, lengths())
        links = [sample.document[begin:end] for begin, end in sample.needles]
        self.assertRegex(links[0], rf"^VAR {sample.answers[0]} = \d{{5}}$")
        for link, old, new in zip(links[1:], sample.answers, sample.answers[1:]):
            self.assertEqual(link, f"VAR {new} = VAR {old}")
        self.assertEqual(sample.needles, sorted(sample.needles))

    def test_score_is_the_share_of_references_found(self) -> None:
        self.assertEqual(tasks.score(" It is\x0012345 and ABC.", ["12345", "abc"]), 1)
        self.assertEqual(tasks.score("12345", ["12345", "67890"]), 0.5)
        self.assertEqual(tasks.score("", ["1"]), 0)


class RecallTest(unittest.TestCase):
    @staticmethod
    def span(begin: int, end: int, in_prompt: bool = True) -> dict[str, object]:
        return {"byte_begin": begin, "byte_end": end, "in_prompt": in_prompt}

    def test_all_bytes_must_be_in_the_prompt(self) -> None:
        for spans, recalled in (
            ([self.span(0, 100)], True),
            ([self.span(20, 30), self.span(10, 20)], True),  # two neighbours, in any order
            ([self.span(10, 29)], False),
            ([self.span(11, 30)], False),
            ([self.span(10, 19), self.span(20, 30)], False),  # a gap
            ([self.span(10, 30, in_prompt=False)], False),
            ([], False),
        ):
            self.assertEqual(needles.is_recalled((10, 30), spans), recalled, spans)


class SquadTest(unittest.TestCase):
    def setUp(self) -> None:
        def article(number: int) -> dict[str, object]:
            text = f"Größe {number}. Die Antwort ist Zahl{number}. Ende."
            answer = {"text": f"Zahl{number}", "answer_start": text.index("Zahl")}
            qas = [{"question": f"Wie lautet {number}?", "answers": [answer]}]
            return {"title": str(number), "paragraphs": [{"context": text, "qas": qas}]}

        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "squad.json"
            path.write_text(json.dumps({"data": [article(n) for n in range(24)]}), encoding="utf-8")
            self.trained, self.held_out = squad.read(path)

    def test_the_last_quarter_is_held_out(self) -> None:
        self.assertEqual([p.text.split()[1] for p in self.held_out], ["18.", "19.", "20.", "21.", "22.", "23."])
        self.assertEqual(len(self.trained), 18)

    def test_answers_are_where_questions_say(self) -> None:
        document, questions = squad.make_document(self.trained, self.held_out, 10_000, seed=1)
        self.assertEqual(len(questions), 6)
        self.assertEqual(document.count("Document "), 24)
        for question in questions:
            answer = document.encode()[question.begin : question.end].decode()
            self.assertEqual(answer, question.answers[0])
            self.assertIn(answer.removeprefix("Zahl"), question.text)

    def test_a_small_document_keeps_what_is_asked_about(self) -> None:
        document, questions = squad.make_document(self.trained, self.held_out, 6 * 70, seed=1)
        self.assertGreaterEqual(len(questions), 5)
        self.assertLessEqual(len(document.encode()), 6 * 70)

    def test_filler_takes_what_room_is_left(self) -> None:
        filler = [squad.Paragraph("Nobody asks about prose.", []) for _ in range(1000)]
        document, questions = squad.make_document(self.trained, self.held_out, 10_000, 1, filler)
        self.assertEqual(len(questions), 6)
        self.assertGreater(document.count("Nobody asks"), 100)
        self.assertLessEqual(len(document.encode()), 10_000)
        for question in questions:
            self.assertEqual(document.encode()[question.begin : question.end].decode(), question.answers[0])

    def test_fill_is_that_of_the_engine(self) -> None:
        sizes = [10, 30, 5, 100]
        segments, at = [], 0
        for size in sizes:
            segments.append(squad.Segment(at, at + size, 0, 0, ""))
            at += size
        self.assertEqual(squad.fill([0, 3, 2], segments, 24), set(range(10)) | set(range(40, 45)))  # 3 is passed over
        self.assertEqual(squad.fill([3, 0], segments, 20), set(range(45, 65)))  # the first is cut
        self.assertEqual(squad.fill([0, 2], segments, 17), set(range(10)))  # 7 tokens are too few to go on

    def test_share_recalled_counts_tokens_of_the_answers_segments(self) -> None:
        segments = [squad.Segment(0, 10, 0, 50, ""), squad.Segment(10, 20, 50, 90, "")]
        within = squad.Question("", [], 60, 70)
        across = squad.Question("", [], 45, 60)
        self.assertEqual(squad.share_recalled(within, segments, set(range(10, 15))), 0.5)
        self.assertEqual(squad.share_recalled(across, segments, set(range(10, 20))), 0.5)


class FoldsTest(unittest.TestCase):
    def test_every_article_is_held_out_once(self) -> None:
        content: dict[str, object] = {"version": "1", "data": list(range(8))}
        files = [folds.rotated(content, fold) for fold in range(folds.FOLDS)]
        self.assertEqual([file["data"][6:] for file in files], [[0, 1], [2, 3], [4, 5], [6, 7]])  # type: ignore[index]
        self.assertEqual(files[-1], content)
        for file in files:
            self.assertEqual(sorted(file["data"]), content["data"])  # type: ignore[call-overload]


class ChooseTest(unittest.TestCase):
    def test_choices_are_ranges_of_bytes(self) -> None:
        document = "Grüne Äpfel. Rote Birnen. Blaue Trauben."
        ends = [len(document[: document.index(word)].encode()) for word in ("Rote", "Blaue")] + [len(document.encode())]
        sample = {"task": "qa_1", "length": 512, "index": 7, "question": "Welche Birnen?", "document": document}
        sample["segments"] = [[0, ends[0], 4], [ends[0], ends[1], 3], [ends[1], ends[2], 5]]
        segments = choose.segments_of(sample)
        self.assertEqual([s.text for s in segments], ["Grüne Äpfel. ", "Rote Birnen. ", "Blaue Trauben."])
        self.assertEqual([(s.token_begin, s.token_end) for s in segments], [(0, 4), (4, 7), (7, 12)])

        def ranges(chosen: list[squad.Segment]) -> object:
            line = json.loads(choose.choice(sample, 64, chosen))
            self.assertEqual([line[name] for name in ("task", "length", "index", "budget")], ["qa_1", 512, 7, 64])
            return line["ranges"]

        self.assertEqual(ranges(segments[::2]), [[0, ends[0]], [ends[1], ends[2]]])
        self.assertEqual(ranges([]), [])


class PairedTest(unittest.TestCase):
    def test_samples_of_both_are_compared(self) -> None:
        def line(mode: str, task: str, index: int, score: float, budget: int = 64) -> str:
            result = {"task": task, "mode": mode, "length": 512, "index": index, "budget": budget, "score": score}
            return json.dumps(result) + "\n"

        with tempfile.TemporaryDirectory() as folder:
            lines = ["{}\n", line("a", "vt", 0, 1), line("a", "vt", 1, 0.5), line("a", "cwe", 0, 1), line("b", "vt", 1, 0.75)]
            lines += [line("b", "cwe", 0, 0), line("b", "vt", 0, 0, budget=128), line("b", "fwe", 0, 0)]
            (pathlib.Path(folder) / "results.jsonl").write_text("".join(lines), encoding="utf-8")
            one, other = (paired.read(f"{folder}:{mode}:64") for mode in "ab")
        self.assertEqual(paired.differences(one, other, []), {512: [[1.0], [-0.25]]})
        self.assertEqual(paired.differences(one, other, ["cwe"]), {512: [[-0.25]]})


class RivalsTest(unittest.TestCase):
    SEGMENTS = [
        squad.Segment(i * 10, i * 10 + 10, i * 100, i * 100 + 100, text)
        for i, text in enumerate(["The mill is old.", "Grey oaks grow.", "The river rises.", "An oak fell."])
    ]

    def test_a_window_keeps_the_first_segment_and_the_last_ones(self) -> None:
        row = rivals.window(["Why?"], self.SEGMENTS)[0]
        spans = comparison._best(row, self.SEGMENTS, 30)
        self.assertEqual([span["byte_begin"] for span in spans], [0, 200, 300])

    def test_a_segment_that_was_cut_is_not_whole(self) -> None:
        self.assertEqual(comparison._best([0, 1, 0, 0], self.SEGMENTS, 9), [])

    def test_a_prompt_breaks_lines_where_text_was_left_out(self) -> None:
        chosen = squad.chosen([3, 2, 0, 1], self.SEGMENTS, 30)
        self.assertEqual(answers._joined(chosen), "The mill is old.Grey oaks grow.\nAn oak fell.")
        self.assertEqual(answers._joined([]), "")

    def test_modes_change_what_they_say_alone(self) -> None:
        source = ilre.DEFAULT_PROFILE
        with tempfile.TemporaryDirectory() as folder:
            engine = ilre.Engine(sys.executable, "model", str(source))
            for name, change in comparison.MODES.items():
                changed = pathlib.Path(engine.with_changes(pathlib.Path(folder), name, change).profile)
                profile, before = (json.loads(path.read_text(encoding="utf-8")) for path in (changed, source))
                self.assertEqual(profile["second_look"]["max_looks"], 0)
                stored = ("model", "prefix", "window", "arithmetic", "max_segment", "lexical_postings")
                self.assertEqual([profile[key] for key in stored], [before[key] for key in stored])
                weights = [path.with_suffix(".safetensors").read_bytes() for path in (changed, source)]
                self.assertEqual(*weights)


class ParaphrasesTest(unittest.TestCase):
    TEXT = "Old bridges last. The mill was called Grey Oak by the villagers."

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.squad_file = self.folder / "squad.json"
        articles = [{"title": name, "paragraphs": [{"context": self.TEXT, "qas": []}]} for name in ("Mills", "Rivers")]
        self.squad_file.write_text(json.dumps({"data": articles}), encoding="utf-8")

    def file_of(self, question: str, **changes: Any) -> pathlib.Path:
        answer = "Grey Oak"
        begin = self.TEXT.index(answer)
        entry = {"article": "Mills", "paragraph": 0, "begin": begin, "end": begin + len(answer)}
        entry |= {"crc32": zlib.crc32(answer.encode()), "question": question, "split": "test"} | changes
        path = self.folder / "paraphrases.json"
        path.write_text(json.dumps({"questions": [entry]}), encoding="utf-8")
        return path

    def test_the_projects_own_are_whole(self) -> None:
        entries = paraphrases.load()
        self.assertGreaterEqual(sum(entry.split == "test" for entry in entries), 100)
        self.assertEqual(len({entry.question for entry in entries}), len(entries))
        self.assertLessEqual({entry.split for entry in entries}, set(paraphrases.SPLITS))
        articles = {split: {e.article for e in entries if e.split == split} for split in paraphrases.SPLITS}
        self.assertFalse(articles["test"] & articles["validation"])

    def test_questions_come_with_their_answers_places(self) -> None:
        path = self.file_of("Which name did locals give to the grinding house?")
        others, asked = paraphrases.paragraphs(self.squad_file, "test", path)
        self.assertEqual((len(others), len(asked)), (1, 1))
        document, questions = squad.make_document(others, asked, 10_000, seed=1)
        self.assertEqual(document.encode()[questions[0].begin : questions[0].end], b"Grey Oak")
        self.assertEqual([len(part) for part in paraphrases.paragraphs(self.squad_file, "validation", path)], [2, 0])

    def test_a_shared_word_is_refused(self) -> None:
        for question in ("Which oak?", "Who calls it so?", "What did villages say?", "Where was the MILL?"):
            with self.subTest(question), self.assertRaisesRegex(paraphrases.ParaphraseError, "shares words"):
                paraphrases.paragraphs(self.squad_file, "test", self.file_of(question))
        paraphrases.paragraphs(self.squad_file, "test", self.file_of("Do ancient bridges matter?"))  # another sentence's

    def test_another_edition_of_an_article_is_refused(self) -> None:
        for changes in ({"crc32": 1}, {"begin": 0}, {"paragraph": 1}, {"article": "Lakes"}):
            with self.subTest(changes), self.assertRaises(paraphrases.ParaphraseError):
                paraphrases.paragraphs(self.squad_file, "test", self.file_of("Whose house?", **changes))


class ReportTest(unittest.TestCase):
    def test_the_interval_holds_the_mean_and_shrinks(self) -> None:
        few, many = (report.bootstrap_interval([0.0, 1.0] * n) for n in (10, 1000))
        self.assertLess(few[0], many[0])
        self.assertLess(many[0], 0.5)
        self.assertLess(0.5, many[1])
        self.assertLess(many[1], few[1])

    def test_rounding_keeps_four_digits(self) -> None:
        self.assertEqual(report.rounded(0.123456), 0.1235)
        self.assertEqual(report.rounded(23056.04), 23056.0)


class FakeEngineTest(unittest.TestCase):
    """Stand-ins for `ilre` that do wrong: the measures must see it."""

    PROGRAM = """#!/bin/sh
case "$*" in
  *ingest*acknowledge*) echo "acknowledged 500"; exec sleep 5 ;;
  *ingest*) cat > /dev/null; echo "default/document: 10 tokens, 40 bytes, in 0.100 s (100 tokens/s)"; sleep 0.2 ;;
  *documents*) echo '{{"name": "default/document", "state": "READY", "bytes": {stored}}}' ;;
  *checksums*) echo "0 10 {digest}" ;;
esac
"""

    def missed(
        self, measure: Callable[..., None], *arguments: Any, stored: int = 600, digest: str = "abc"
    ) -> list[str]:
        with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w", encoding="utf-8") as null:
            program = pathlib.Path(folder) / "ilre"
            program.write_text(self.PROGRAM.format(stored=stored, digest=digest), encoding="utf-8")
            program.chmod(0o755)
            result = report.Report()
            with contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
                measure(result, ilre.Engine(str(program)), None, True, *arguments)
            return result.missed

    def test_a_lost_acknowledgement_is_seen(self) -> None:
        self.assertIn("kill.acknowledged_lost", self.missed(kill.measure, 2, stored=400))

    def test_an_unfinished_document_that_claims_to_be_ready_is_seen(self) -> None:
        self.assertEqual(self.missed(kill.measure, 2), ["kill.different"])

    def test_other_blocks_after_kills_are_seen(self) -> None:
        self.assertIn("kill.different", self.missed(kill.measure, 2, digest="$$"))

    def test_other_blocks_of_other_pieces_are_seen(self) -> None:
        self.assertEqual(self.missed(pieces.measure, digest="$$"), ["pieces.different"])
        self.assertEqual(self.missed(pieces.measure), [])


class PeakMemoryTest(unittest.TestCase):
    def test_peak_memory_is_that_of_the_process(self) -> None:
        mib = 64
        process = subprocess.Popen(
            [sys.executable, "-c", f"x = b'x' * ({mib} << 20); del x; import time; time.sleep(0.5)"]
        )
        peak = ilre.PeakMemory(process.pid)
        process.wait()
        self.assertGreater(peak.result(), mib << 20)
        self.assertLess(peak.result(), (mib + 64) << 20)


class KindsTest(unittest.TestCase):
    def test_facts_are_where_they_are_looked_for(self) -> None:
        for name in ("markdown_table", "markdown_list", "log", "csv", "json_line", "code_body"):
            kind = kinds.KINDS[name](random.Random(7), None)
            text = kinds.build(kind)
            places = [kinds.place_of(text, fact) for fact in kind.facts]
            self.assertEqual(places, sorted(places), name)
            for fact, (begin, end) in zip(kind.facts, places, strict=True):
                found = text.encode()[begin:end].decode()
                self.assertTrue(found.startswith(fact.key) and found.endswith(fact.value), (name, found))
                self.assertIn(found, fact.text)

    def test_spans_cover_what_they_hold_together(self) -> None:
        spans = [{"byte_begin": a, "byte_end": b} for a, b in ((0, 10), (10, 20), (30, 40))]
        self.assertTrue(kinds.covered(spans, 3, 20))
        self.assertFalse(kinds.covered(spans, 15, 35))
        self.assertFalse(kinds.covered(spans, 21, 25))
        self.assertFalse(kinds.covered([], 0, 1))


if __name__ == "__main__":
    unittest.main()
