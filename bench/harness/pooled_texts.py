"""Texts without labels, and what a sentence-embedding model says of their sentences: what a pooled head is learned from by
`ilre calibrate --train --teacher TEACHER`.

    apt-get download wordnet-base anarchism dict-foldoc dict-gcide; for each: dpkg-deb -x PACKAGE.deb PACKAGES
    PYTHONPATH=bench python3 -m harness.pooled_texts --embedder FOLDER --squad SQUAD --packages PACKAGES --output TEACHER

Sentences are made of dictionary entries (WordNet, GCIDE, FOLDOC) and of a long book of questions and answers; questions
of WordNet's glosses and synonyms, which ask for a thing in other words, and of the book's headings. Everything is drawn
with seed 0. Plain text of your own (--texts FILE...) can stand in their place or beside them. The teacher also reads the
sentences and questions of the SQuAD-format file.

TEACHER/texts.json: {"documents": [text...], "questions": [text...], "sentences": [what was read...]};
TEACHER/vectors.safetensors: "vectors" [sentences, dimensions], float16.
"""

import argparse
import glob
import gzip
import html
import json
import pathlib
import random
import re
from typing import Any

from harness.sentence_vectors import SentenceVectors

ENTRIES, ENTRIES_A_TEXT = 14_000, 200
# Sentences that the teacher reads. The rest is context.
MIN_CHARACTERS, MAX_CHARACTERS = 15, 450


def make(packages: pathlib.Path) -> tuple[list[str], list[str]]:
    """-> documents, questions"""
    rng = random.Random(0)
    texts, questions = _wordnet(packages / "usr/share/wordnet", rng)
    book, headings = _book(packages / "usr/share/doc/anarchism/html", rng)
    texts += [book, _foldoc(packages / "usr/share/dictd/foldoc.dict.dz", rng)]
    texts.append(_gcide(packages / "usr/share/dictd/gcide.dict.dz", rng))
    return texts, questions + headings


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _wordnet(folder: pathlib.Path, rng: random.Random) -> tuple[list[str], list[str]]:
    entries = []
    for part in ("noun", "verb", "adj"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue  # the licence
            head, _, gloss = line.partition("|")
            fields = head.split()
            words = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
            parts = [piece.strip() for piece in gloss.strip().split(";")]
            examples = [piece.strip('" ') for piece in parts if piece.startswith('"')]
            meaning = "; ".join(piece for piece in parts if not piece.startswith('"'))
            entries.append((part, [re.sub(r"\(\w+\)", "", word) for word in words], meaning, examples))
    rng.shuffle(entries)
    frames = {
        "noun": ["{W} means {d}.", "{W} is {d}.", "By {w} we mean {d}.", "{d} is called {w}."],
        "verb": ["To {w} is to {d}.", "{W}: {d}."],
        "adj": ["{W} means {d}.", "Something {w} is {d}."],
    }
    by_synonym = ["What does {o} mean?", "What is {o}?", "How would you explain {o}?"]
    by_gloss = ["What do we call {d}?", "Which word stands for {d}?", "What is the name of {d}?", "Who or what is {d}?"]
    lines, questions = [], []
    for part, words, meaning, examples in entries[:ENTRIES]:
        line = _capital(rng.choice(frames[part]).format(W=_capital(words[0]), w=words[0], d=meaning))
        if examples and rng.random() < 0.7:
            example = rng.choice(examples)
            line += " " + _capital(example) + ("" if example[-1:] in ".!?" else ".")
        lines.append(line)
        if rng.random() < 0.35:
            frame = rng.choice(by_synonym if len(words) > 1 else by_gloss)
            questions.append(frame.format(o=words[-1], d=meaning))
    return [" ".join(lines[i : i + ENTRIES_A_TEXT]) for i in range(0, len(lines), ENTRIES_A_TEXT)], questions


def _book(folder: pathlib.Path, rng: random.Random) -> tuple[str, list[str]]:
    files = sorted(glob.glob(str(folder / "*.html")))
    rng.shuffle(files)
    paragraphs, headings = [], []
    for file in files:
        page = pathlib.Path(file).read_text(encoding="utf-8", errors="replace")
        headings += [_plain(match) for match in re.findall(r"(?s)<h[1-4]>(.*?)</h[1-4]>", page)]
        page = re.sub(r"(?s)<(script|style|head).*?</\1>", "", page)
        paragraphs += [re.sub(r"\s+", " ", _plain(p)) for p in re.split(r"(?i)</?p>|<br>|</h\d>|</?blockquote>", page)]
    paragraphs = [paragraph for paragraph in paragraphs if 200 < len(paragraph) < 1500]
    rng.shuffle(paragraphs)
    asked = [re.sub(r"^[A-Z]?[\d.]+\s*", "", heading) for heading in headings if heading.endswith("?")]
    return "\n\n".join(paragraphs[:600]), asked[:300]


def _plain(markup: str) -> str:
    return html.unescape(re.sub("<[^>]+>", "", markup)).strip()


def _foldoc(file: pathlib.Path, rng: random.Random) -> str:
    entries = re.split(r"\n\n(?=\S)", gzip.open(file).read().decode("utf-8", "replace"))
    entries = [re.sub(r"\s+", " ", re.sub(r"[{}]", "", entry)).strip() for entry in entries]
    entries = [entry for entry in entries if 150 < len(entry) < 1500 and ">" in entry[:120]]
    entries = [re.sub(r"\s*\([\d-]+\)$", "", re.sub("<[^>]*>", "", entry)) for entry in entries]
    rng.shuffle(entries)
    return "\n\n".join(entries[:220])


def _gcide(file: pathlib.Path, rng: random.Random) -> str:
    text = gzip.open(file).read().decode("utf-8", "replace")
    entries = re.findall(r"(?s)(?:\d\.|\])\s+((?:[A-Z][^\[\]{}]{120,500}?)\.)\s*(?:\n|\[)", text)
    entries = [re.sub(r"\s+", " ", re.sub(r"[{}]", "", entry)) for entry in entries]
    rng.shuffle(entries)
    return "\n".join(entries[:900])


def sentences(text: str) -> list[str]:
    """Cut where the program's segments begin (common/retrieval/segmenter.h), but for those that are too long for one."""
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+|(?<=[.!?][\"')\]}])\s+|\n+", text) if s.strip()]


def to_teach(documents: list[str], questions: list[str], squad: list[dict[str, Any]]) -> list[str]:
    """The questions and the sentences that the teacher reads, shortest first. squad: the articles of such a file."""
    texts = set(questions)
    for document in documents:
        texts |= {s for s in sentences(document) if MIN_CHARACTERS < len(s) < MAX_CHARACTERS}
    paragraphs = [paragraph for article in squad for paragraph in article["paragraphs"]]
    for number, paragraph in enumerate(paragraphs, 1):
        texts |= {f"Document {number}:", *sentences(paragraph["context"])}  # as the program joins paragraphs to a text
        texts |= {asked["question"].strip() for asked in paragraph["qas"]}
    return sorted(texts - {""}, key=lambda text: (len(text), text))


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.pooled_texts", description="A teacher's folder for ilre calibrate")
    parser.add_argument("--embedder", type=pathlib.Path, required=True, help="folder of the sentence-embedding model")
    parser.add_argument("--squad", type=pathlib.Path, required=True, help="the SQuAD-format file to calibrate with")
    parser.add_argument("--packages", type=pathlib.Path, help="folder of unpacked packages")
    parser.add_argument("--texts", type=pathlib.Path, nargs="+", default=[], help="files of plain text")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    from safetensors.numpy import save_file  # pylint: disable=import-outside-toplevel

    documents, questions = make(arguments.packages) if arguments.packages else ([], [])
    documents += [file.read_text(encoding="utf-8") for file in arguments.texts]
    squad = json.loads(arguments.squad.read_text(encoding="utf-8"))["data"]
    taught = to_teach(documents, questions, squad)
    arguments.output.mkdir(parents=True, exist_ok=True)
    teacher = SentenceVectors(arguments.embedder, max_tokens=128, batch=64, bfloat16=True)
    save_file({"vectors": teacher.encode(taught).half().numpy()}, arguments.output / "vectors.safetensors")
    made = {"documents": documents, "questions": questions, "sentences": taught}
    (arguments.output / "texts.json").write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
