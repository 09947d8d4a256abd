"""Questions that need two paragraphs, in HotpotQA's format, and the rules that they keep.

`bench/data/two_hop.json` was written for this project: its places, people and things are invented, so that no model knows
an answer. A question of type "bridge" names one thing, whose paragraph names another one, whose paragraph has the answer;
one of type "comparison" names two things of which one is the answer. As a program it checks a file of this kind:

    PYTHONPATH=bench python3 -m harness.two_hop [FILE]
"""

import collections
import dataclasses
import json
import pathlib
import sys
from typing import Any

DATA = pathlib.Path(__file__).parent.parent / "data" / "two_hop.json"
FIELDS = {"_id", "type", "question", "answer", "supporting_facts", "context"}
MIN_QUESTIONS, MAX_DISTRACTORS = 40, 2
SENTENCES, WORDS = range(3, 6), range(55, 106)  # of a paragraph, with its title


@dataclasses.dataclass
class Support:
    """A paragraph that a question needs."""

    title: str
    text: str  # title and all sentences
    sentences: str  # those that the supporting facts name

    def has(self, words: str) -> bool:
        return words.lower() in self.text.lower()


def load(path: pathlib.Path = DATA) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))


def problems(entries: list[dict[str, Any]]) -> list[str]:
    """What breaks a rule, each with the entry's id."""
    for rules in (_form, _hops):  # each reads what those before it promise
        found = [f"{entry.get('_id')}: {problem}" for entry in entries for problem in rules(entry)]
        if found:
            return found
    return _of_the_whole(entries)


def _form(entry: dict[str, Any]) -> list[str]:
    if set(entry) != FIELDS or not all(isinstance(entry[name], str) and entry[name] for name in ("_id", "question", "answer")):
        return ["fields are not those of the format"]
    if entry["type"] not in ("bridge", "comparison"):
        return [f"no type {entry['type']!r}"]
    paragraphs = dict(entry["context"])
    if len(paragraphs) != len(entry["context"]):
        return ["two paragraphs of one title"]
    found = []
    for title, sentences in paragraphs.items():
        words = len(f"{title} {''.join(sentences)}".split())
        if len(sentences) not in SENTENCES or words not in WORDS:
            found.append(f"{title!r} has {len(sentences)} sentences, {words} words")
        if any(sentence.startswith(" ") != (i > 0) or sentence != sentence.rstrip() for i, sentence in enumerate(sentences)):
            found.append(f"{title!r}: sentences do not join to a paragraph")
    for title, number in entry["supporting_facts"]:
        if title not in paragraphs or number not in range(len(paragraphs[title])):
            found.append(f"no sentence {number} of {title!r}")
    titles = {title for title, _ in entry["supporting_facts"]}
    if len(titles) != 2:
        found.append(f"{len(titles)} paragraphs are needed")
    if len(paragraphs) > 2 + MAX_DISTRACTORS:
        found.append("too many distractors")
    return found


def _supports(entry: dict[str, Any]) -> list[Support]:
    """The needed paragraphs, in the order of their first supporting fact."""
    paragraphs = dict(entry["context"])
    named: dict[str, list[str]] = {}
    for title, number in entry["supporting_facts"]:
        named.setdefault(title, []).append(paragraphs[title][number])
    return [Support(title, f"{title}\n{''.join(paragraphs[title])}", "".join(facts)) for title, facts in named.items()]


def _hops(entry: dict[str, Any]) -> list[str]:
    first, second = _supports(entry)
    question, answer = entry["question"].lower(), entry["answer"]
    rules = {
        f"the question does not name {first.title!r}": first.title.lower() in question,
        f"{second.title!r} names {first.title!r}": not second.has(first.title),
    }
    if entry["type"] == "bridge":
        rules |= {
            f"the question names {second.title!r}": second.title.lower() not in question,
            f"the fact about {first.title!r} does not name {second.title!r}": second.title.lower() in first.sentences.lower(),
            f"no fact about {second.title!r} has the answer": answer.lower() in second.sentences.lower(),
            f"{first.title!r} has the answer": not first.has(answer),
            "the question has the answer": answer.lower() not in question,
        }
    else:
        rules |= {
            f"the question does not name {second.title!r}": second.title.lower() in question,
            f"{first.title!r} names {second.title!r}": not first.has(second.title),
            "the answer is neither of the two": answer.lower() in (first.title.lower(), second.title.lower()),
        }
    return [problem for problem, holds in rules.items() if not holds]


def _of_the_whole(entries: list[dict[str, Any]]) -> list[str]:
    found = []
    texts = [f"{title}\n{''.join(sentences)}".lower() for entry in entries for title, sentences in entry["context"]]
    titles = [title.lower() for entry in entries for title, _ in entry["context"]]
    for what, values in (
        ("id", [entry["_id"] for entry in entries]),
        ("question", [entry["question"] for entry in entries]),
        ("answer", [entry["answer"].lower() for entry in entries]),
        ("title", titles),
    ):
        found += [f"{what} {value!r} {count} times" for value, count in collections.Counter(values).items() if count > 1]
    for entry in entries:  # a stranger's paragraph must not answer, whatever is put beside it
        holders = sum(entry["answer"].lower() in text for text in texts)
        if holders != 1:
            found.append(f"{entry['_id']}: {holders} paragraphs have the answer {entry['answer']!r}")
    comparisons = [entry for entry in entries if entry["type"] == "comparison"]
    first_named = sum(_is_named_first(entry) for entry in comparisons)
    if not len(comparisons) <= 3 * first_named <= 2 * len(comparisons):
        found.append(f"in {first_named} of {len(comparisons)} comparisons the one named first is right")
    if not len(entries) <= 4 * len(comparisons) <= 2 * len(entries):
        found.append(f"{len(comparisons)} comparisons of {len(entries)} questions: about a third were wanted")
    if len(entries) < MIN_QUESTIONS:
        found.append(f"only {len(entries)} questions")
    return found


def _is_named_first(entry: dict[str, Any]) -> bool:
    question = entry["question"].lower()
    named = sorted((support.title.lower() for support in _supports(entry)), key=question.index)
    return named[0] == entry["answer"].lower()


def main() -> int:
    entries = load(*map(pathlib.Path, sys.argv[1:2]))
    found = problems(entries)
    print("\n".join(found) or f"{len(entries)} questions keep the rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
