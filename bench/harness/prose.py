"""Long English prose that is on the machine: the King James Bible as Debian's `bible` command prints it."""

import functools
import itertools
import random
import re
import shutil
import subprocess

WHOLE = "gen1:1-rev22:21"
# Sentences of other scripts, so that pieces of an upload are cut within characters of two, three and four bytes.
FOREIGN = (
    "Der Fluß führt im Frühjahr so viel Wasser, daß die Brücke gesperrt wird.",
    "Το μουσείο ανοίγει στις εννέα το πρωί.",
    "图书馆每天早上九点开门。晚上六点关门。",
    "橋は一九三二年に建てられました。",
    "The price was 25 € 😀, and the tower 𝔗 is 48 m high.",
)


class ProseMissingError(RuntimeError):
    """The text is not installed."""


@functools.cache
def sentences() -> tuple[str, ...]:
    """The whole text as sentences: verse labels stripped, white space collapsed; about 4.1 MB."""
    command = shutil.which("bible") or shutil.which("bible", path="/usr/games:/usr/bin")
    if command is None:
        raise ProseMissingError("no `bible` command: apt-get install bible-kjv bible-kjv-text")
    printed = subprocess.run([command, "-f", WHOLE], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    verses = re.sub(r"^\w+?\d+:\d+ ", "", printed.stdout.decode("latin-1"), flags=re.MULTILINE)
    return tuple(split_sentences(verses))


def split_sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", text).strip())


def passage(num_bytes: int, seed: int, foreign: bool = False) -> str:
    """Consecutive sentences from a random place on (the book begins anew at its end), `num_bytes` long at the least.

    foreign: every tenth sentence is followed by one of another script.
    """
    book = sentences()
    at = random.Random(seed).randrange(len(book))
    taken: list[str] = []
    length = 0
    while length < num_bytes:
        taken.append(book[(at + len(taken)) % len(book)])
        if foreign and len(taken) % 10 == 0:
            taken[-1] += " " + FOREIGN[len(taken) // 10 % len(FOREIGN)]
        length += len(taken[-1].encode()) + 1
    return " ".join(taken)


def varied(num_bytes: int, seed: int) -> str:
    """Text of any length without a repeated sentence: the beginnings of the book's sentences, in its order, each with
    the end of another; `num_bytes` long at the least."""
    book = [sentence.split(" ") for sentence in sentences()]
    rng = random.Random(seed)
    at = rng.randrange(len(book))
    offsets = itertools.cycle(rng.sample(range(1, len(book)), len(book) - 1))
    taken: list[str] = []
    length = 0
    while length < num_bytes:
        if len(taken) % len(book) == 0:
            offset = next(offsets)  # another for each time through the book
        begin, end = book[at % len(book)], book[(at + offset) % len(book)]
        taken.append(" ".join(begin[: (len(begin) + 1) // 2] + end[len(end) // 2 :]))
        length += len(taken[-1].encode()) + 1
        at += 1
    return " ".join(taken)
