"""Tests of the questions that need two paragraphs, and of what checks them."""

import copy
import unittest
from typing import Any, Callable

from harness import two_hop


class TwoHopTest(unittest.TestCase):
    def setUp(self) -> None:
        self.entries = two_hop.load()

    def test_the_questions_keep_the_rules(self) -> None:
        self.assertEqual(two_hop.problems(self.entries), [])
        self.assertTrue(any(len(entry["context"]) > 2 for entry in self.entries), "no distractors")

    def broken(self, kind: str, change: Callable[[dict[str, Any]], None]) -> list[str]:
        """What is found once `change` was made to the first question of a kind."""
        entries = copy.deepcopy(self.entries)
        change(next(entry for entry in entries if entry["type"] == kind))
        return two_hop.problems(entries)

    @staticmethod
    def sentences(entry: dict[str, Any], fact: int) -> list[str]:
        """Of the paragraph that a supporting fact is about."""
        return dict(entry["context"])[entry["supporting_facts"][fact][0]]

    @staticmethod
    def distractor(entry: dict[str, Any]) -> list[str]:
        needed = {title for title, _ in entry["supporting_facts"]}
        return next(sentences for title, sentences in entry["context"] if title not in needed)

    def append(self, fact: int, text: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], None]:
        def change(entry: dict[str, Any]) -> None:
            self.sentences(entry, fact)[-1] += " " + text(entry)

        return change

    def test_a_rule_that_is_broken_is_named(self) -> None:
        facts = "supporting_facts"
        cases: list[tuple[str, str, Callable[[dict[str, Any]], None]]] = [
            ("fields are not", "bridge", lambda e: e.pop("answer")),
            ("no type", "bridge", lambda e: e.update(type="riddle")),
            ("1 paragraphs are needed", "bridge", lambda e: e[facts].pop()),
            ("no sentence 9", "bridge", lambda e: e[facts][0].__setitem__(1, 9)),
            ("no sentence 0 of 'Nowhere'", "bridge", lambda e: e[facts][0].__setitem__(0, "Nowhere")),
            ("two paragraphs of one title", "bridge", lambda e: e["context"].append(e["context"][0])),
            ("too many distractors", "bridge", lambda e: e["context"].extend([f"T{i}", e["context"][0][1]] for i in range(3))),
            ("has 2 sentences", "bridge", lambda e: e["context"][0].__setitem__(1, ["One.", " Two."])),
            ("do not join", "bridge", lambda e: self.sentences(e, 0).__setitem__(1, self.sentences(e, 0)[1].strip())),
            ("the question does not name", "bridge", lambda e: e.update(question="Where was its engineer born?")),
            ("the question names", "bridge", lambda e: e.update(question=f"{e['question']} {e[facts][1][0]}?")),
            ("the question has the answer", "bridge", lambda e: e.update(question=f"{e['question']} {e['answer']}?")),
            ("does not name", "bridge", lambda e: e[facts][0].__setitem__(1, 1)),
            ("no fact about", "bridge", lambda e: e[facts][1].__setitem__(1, 2)),
            ("has the answer", "bridge", self.append(0, lambda e: e["answer"])),
            ("' names '", "bridge", self.append(1, lambda e: e[facts][0][0])),
            ("' names '", "comparison", self.append(0, lambda e: e[facts][1][0])),
            ("the question does not name", "comparison", lambda e: e.update(question=f"Which, {e[facts][0][0]} or another?")),
            ("neither of the two", "comparison", lambda e: e.update(answer="both")),
            ("2 paragraphs have the answer", "bridge", lambda e: self.distractor(e).append(f" {e['answer']} is elsewhere.")),
        ]
        for problem, kind, change in cases:
            with self.subTest(problem, kind=kind):
                self.assertRegex("\n".join(self.broken(kind, change)), problem)

    def test_the_whole_has_rules_too(self) -> None:
        self.assertIn("only 39 questions", two_hop.problems(self.entries[:39]))
        self.assertRegex("\n".join(two_hop.problems(self.entries + self.entries[:1])), "title .* 2 times")
        bridges = [entry for entry in self.entries if entry["type"] == "bridge"]
        self.assertRegex("\n".join(two_hop.problems(bridges)), "0 comparisons of")
        swapped = copy.deepcopy(self.entries)
        for entry in swapped:
            if entry["type"] == "comparison":
                other = next(title for title, _ in entry["supporting_facts"] if title.lower() != entry["answer"].lower())
                entry["question"] = f"Of {entry['answer']} and {other}, which?"
        self.assertRegex("\n".join(two_hop.problems(swapped)), "in 16 of 16 comparisons")


if __name__ == "__main__":
    unittest.main()
