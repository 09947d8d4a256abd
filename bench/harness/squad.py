"""Questions about paragraphs from a file in SQuAD's format, and what is chosen for them within a budget.

As a program it writes the text of each article without its questions, for `ilre calibrate --write-questions`:

    PYTHONPATH=bench python3 -m harness.squad FILE FOLDER [--held-out]
"""

import argparse
import dataclasses
import json
import pathlib
import random
import re
from typing import Any, Sequence

HELD_OUT_FROM = 0.75  # articles from here on were not trained on
# A fill stops when fewer tokens are free: what the engine does too, so that both are asked alike.
TOO_FEW_TO_FILL = 8


@dataclasses.dataclass
class Question:
    text: str
    answers: list[str]
    begin: int  # bytes of the first answer in the document
    end: int


@dataclasses.dataclass
class Paragraph:
    text: str
    questions: list[dict[str, Any]]  # as in the file


@dataclasses.dataclass
class Segment:
    token_begin: int
    token_end: int
    byte_begin: int
    byte_end: int
    text: str

    @property
    def num_tokens(self) -> int:
        return self.token_end - self.token_begin


def _articles(path: pathlib.Path) -> tuple[list[Any], list[Any]]:
    """-> those that may have been trained on, and those held out."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    first_held_out = int(len(articles) * HELD_OUT_FROM)
    return articles[:first_held_out], articles[first_held_out:]


def read(path: pathlib.Path) -> tuple[list[Paragraph], list[Paragraph]]:
    """-> paragraphs of the articles that may have been trained on, and of those held out."""
    parts = []
    for part in _articles(path):
        parts.append([Paragraph(p["context"], p["qas"]) for article in part for p in article["paragraphs"]])
    return parts[0], parts[1]


def make_document(
    trained: Sequence[Paragraph],
    held_out: Sequence[Paragraph],
    max_bytes: int,
    seed: int,
    filler: Sequence[Paragraph] = (),
) -> tuple[str, list[Question]]:
    """All held-out paragraphs that fit among as many others as fit, shuffled; questions about the held-out ones.

    filler: for what room there is when all others have been taken.
    """
    rng = random.Random(seed)
    asked = {id(paragraph) for paragraph in held_out}
    chosen: list[Paragraph] = []
    used = 0
    for group in (list(held_out), list(trained), list(filler)):
        rng.shuffle(group)
        for paragraph in group:
            used += len(paragraph.text.encode()) + len("Document 000:\n\n\n")
            if used > max_bytes:
                break
            chosen.append(paragraph)
    rng.shuffle(chosen)
    document = b""
    questions = []
    for number, paragraph in enumerate(chosen):
        document += f"Document {number + 1}:\n".encode()
        if id(paragraph) in asked:
            questions += [_question(paragraph, raw, len(document)) for raw in paragraph.questions if raw["answers"]]
        document += paragraph.text.encode() + b"\n\n"
    return document.decode(), questions


def _question(paragraph: Paragraph, raw: dict[str, Any], offset: int) -> Question:
    answer = raw["answers"][0]
    begin = offset + len(paragraph.text[: answer["answer_start"]].encode())  # the file counts characters
    end = begin + len(answer["text"].encode())
    return Question(raw["question"], [other["text"] for other in raw["answers"]], begin, end)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def ranking(scores: Sequence[float]) -> list[int]:
    """Places in descending order of score, the earlier first among equals."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])


def fill(order: Sequence[int], segments: Sequence[Segment], budget: int) -> set[int]:
    """Tokens of the best segments that fit: one too long for what is left is passed over, the first is cut."""
    taken: set[int] = set()
    for rank, index in enumerate(order):
        free = budget - len(taken)
        if free < (TOO_FEW_TO_FILL if taken else 1):
            break
        segment = segments[index]
        if segment.num_tokens > free and rank > 0:
            continue
        taken.update(range(segment.token_begin, min(segment.token_end, segment.token_begin + free)))
    return taken


def chosen(scores: Sequence[float], segments: Sequence[Segment], budget: int) -> list[Segment]:
    """The segments of the best scores that fit whole, in the document's order."""
    taken = fill(ranking(scores), segments, budget)
    return [segment for segment in segments if segment.token_end - 1 in taken]


def answer_segments(question: Question, segments: Sequence[Segment]) -> list[Segment]:
    return [s for s in segments if s.byte_begin < question.end and s.byte_end > question.begin]


def share_recalled(question: Question, segments: Sequence[Segment], recalled: set[int]) -> float:
    """Of the tokens of the answer's sentence."""
    tokens = [t for s in answer_segments(question, segments) for t in range(s.token_begin, s.token_end)]
    return sum(token in recalled for token in tokens) / len(tokens)


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.squad", description="Writes the text of each article to a file.")
    parser.add_argument("file", type=pathlib.Path, help="in SQuAD's format")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--held-out", action="store_true", help="of the articles that are held out [of the others]")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number, article in enumerate(_articles(arguments.file)[arguments.held_out], 1):
        text = "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
        (arguments.folder / f"{number:03}.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
