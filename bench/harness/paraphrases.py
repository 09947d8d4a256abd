"""Questions in other words: none shares a content word with the sentence that answers it.

`bench/data/paraphrases.json` has questions written for this project about articles of XQuAD, with the places of their
answers and no text of the articles; a file in SQuAD's format with these articles gives the text. As a program it
checks the questions against such a file, or writes them in formats that `ilre eval` reads:

    PYTHONPATH=bench python3 -m harness.paraphrases --squad FILE [--split test] [--to-squad FILE] [--to-lines FILE]
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sys
import zlib
from typing import Any

from harness import squad

DATA = pathlib.Path(__file__).parent.parent / "data" / "paraphrases.json"
SPLITS = ("test", "validation")  # about articles that training does not see; about some that it sees, to choose by
STEM = 6  # characters: words that begin with the same ones count as one word, as in common/retrieval/lexical.h
ROOT = 4  # a word that another one begins with is the same word from this length on: "call", "called"

# What a sentence is made of whatever it is about: the engine's stop words and more of the kind.
FUNCTION_WORDS = frozenset(
    """
    a about after again all almost already also although always am an and another any anyone anything are as at away
    back be because been before being between both but by can could did do does doing done down during each either else
    ever every few for from further get had has have having he her here hers him his how however i if in into is it its
    itself just less like may me might more most much must my near neither never no nor not nothing of off often on once
    one only onto or other others our out over own per quite rather same she should since so some someone something such
    than that the their them themselves then there these they this those through thus to together too toward towards
    under until up upon us very was we well were what when where whether which while who whom whose why will with within
    without would yet you your
    """.split()
)


class ParaphraseError(Exception):
    """The file of questions and the file of articles do not go together, or a question breaks the rule."""


@dataclasses.dataclass
class Paraphrase:
    article: str  # its title
    paragraph: int  # from 0
    begin: int  # characters of the paragraph that hold the answer
    end: int
    crc32: int  # of the answer's text in UTF-8: another edition of the article would show
    question: str
    split: str


def load(path: pathlib.Path = DATA) -> list[Paraphrase]:
    return [Paraphrase(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["questions"]]


def content_words(text: str) -> set[str]:
    """Lower-case words that say what a text is about."""
    return {word for word in squad.words(text) if len(word) > 1 and word not in FUNCTION_WORDS}


def shared_words(question: str, sentence: str) -> list[tuple[str, str]]:
    """Content words of the two that count as the same."""
    theirs = content_words(sentence)
    return sorted((ours, other) for ours in content_words(question) for other in theirs if _same(ours, other))


def _same(one: str, other: str) -> bool:
    if one[:STEM] == other[:STEM]:
        return True
    shorter, longer = sorted((one.removesuffix("s"), other.removesuffix("s")), key=len)
    return len(shorter) >= ROOT and longer.startswith(shorter)


def sentence_around(text: str, begin: int, end: int) -> str:
    """The sentences, or lines, of a text that hold a place in it."""
    ends = [match.end() for match in re.finditer(r"(?<=[.!?])[\"')\]}]*\s+|\n+", text)] + [len(text)]
    starts = [0] + ends[:-1]
    within = [(a, b) for a, b in zip(starts, ends) if a < end and b > begin]
    return text[within[0][0] : within[-1][1]]


def paragraphs(
    squad_file: pathlib.Path, split: str, path: pathlib.Path = DATA
) -> tuple[list[squad.Paragraph], list[squad.Paragraph]]:
    """-> paragraphs that nobody asks about, and those of the split's questions, which replace the file's own."""
    articles = json.loads(squad_file.read_text(encoding="utf-8"))["data"]
    titles = {article.get("title", ""): article for article in articles}
    asked: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for entry in load(path):
        if entry.split == split:
            answer = _answer(entry, titles, squad_file)
            asked.setdefault((entry.article, entry.paragraph), []).append(answer)
    parts: tuple[list[squad.Paragraph], list[squad.Paragraph]] = ([], [])
    for title, article in titles.items():
        for number, paragraph in enumerate(article["paragraphs"]):
            own = asked.get((title, number), [])
            parts[bool(own)].append(squad.Paragraph(paragraph["context"], own))
    return parts


def _answer(entry: Paraphrase, titles: dict[str, Any], squad_file: pathlib.Path) -> dict[str, Any]:
    """A question as a file in SQuAD's format has it."""
    try:
        text = titles[entry.article]["paragraphs"][entry.paragraph]["context"]
    except (KeyError, IndexError) as error:
        raise ParaphraseError(f"{squad_file} has no paragraph {entry.paragraph} of {entry.article!r}") from error
    answer = text[entry.begin : entry.end]
    if zlib.crc32(answer.encode()) != entry.crc32:
        raise ParaphraseError(f"{squad_file} has another text of {entry.article!r}, paragraph {entry.paragraph}")
    shared = shared_words(entry.question, sentence_around(text, entry.begin, entry.end))
    if shared:
        raise ParaphraseError(f"{entry.question!r} shares words with its answer's sentence: {shared}")
    return {"question": entry.question, "answers": [{"text": answer, "answer_start": entry.begin}]}


def _write_squad(squad_file: pathlib.Path, asked: list[squad.Paragraph], output: pathlib.Path) -> None:
    """All articles of the file, with the questions in other words alone."""
    data = json.loads(squad_file.read_text(encoding="utf-8"))
    by_text = {paragraph.text: paragraph.questions for paragraph in asked}
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = [
                {"id": f"{zlib.crc32(qa['question'].encode()):08x}", **qa} for qa in by_text.get(paragraph["context"], [])
            ]
    output.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def _write_lines(others: list[squad.Paragraph], asked: list[squad.Paragraph], output: pathlib.Path) -> None:
    document, questions = squad.make_document(others, asked, sys.maxsize, seed=1)
    lines = [{"document": document, "question": q.text, "answers": q.answers} for q in questions]
    output.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.paraphrases", description=__doc__.splitlines()[0])
    parser.add_argument("--squad", type=pathlib.Path, required=True, metavar="FILE", help="XQuAD's English articles")
    parser.add_argument("--split", choices=SPLITS, help="only these [all]")
    parser.add_argument("--to-squad", type=pathlib.Path, metavar="FILE", help="writes them as ilre eval --squad reads")
    parser.add_argument("--to-lines", type=pathlib.Path, metavar="FILE", help="as ilre eval --questions reads")
    arguments = parser.parse_args()
    for split in [arguments.split] if arguments.split else SPLITS:
        others, asked = paragraphs(arguments.squad, split)
        print(f"{split}: {sum(len(p.questions) for p in asked)} questions, none shares a word with its answer's sentence")
        if arguments.to_squad:
            _write_squad(arguments.squad, asked, arguments.to_squad)
        if arguments.to_lines:
            _write_lines(others, asked, arguments.to_lines)


if __name__ == "__main__":
    try:
        main()
    except (ParaphraseError, OSError) as error:
        sys.exit(f"paraphrases: {error}")
