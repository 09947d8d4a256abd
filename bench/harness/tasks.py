"""RULER's eight needle tasks and variable tracking, written anew and seeded.

After Hsieh et al., "RULER: What's the Real Context Size of Your Long-Context Language Models?" (arXiv 2404.06654), with
its wording and scorer. The one difference: prose is the King James Bible in place of essays.
"""

import dataclasses
import random
import re
import string
import uuid
from typing import Callable, Sequence

from harness.words import ADJECTIVES, NOUNS

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NUM_DEPTHS = 40  # needles in prose lie at 0, 2.5, ... 100% of it
CHAIN_NAMES = 5
NEEDLE_ROOM = 48  # tokens; a needle has 45 at the most (two uuids)


@dataclasses.dataclass(frozen=True)
class NeedleTask:
    haystack: str  # noise, essay or needle
    key_kind: str
    value_kind: str
    num_keys: int = 1
    values_per_key: int = 1
    num_queries: int = 1

    @property
    def one_answer(self) -> bool:
        return self.values_per_key * self.num_queries == 1


NEEDLE_TASKS = {
    "niah_single_1": NeedleTask("noise", "words", "numbers"),
    "niah_single_2": NeedleTask("essay", "words", "numbers"),
    "niah_single_3": NeedleTask("essay", "words", "uuids"),
    "niah_multikey_1": NeedleTask("essay", "words", "numbers", num_keys=4),
    "niah_multikey_2": NeedleTask("needle", "words", "numbers"),
    "niah_multikey_3": NeedleTask("needle", "uuids", "uuids"),
    "niah_multivalue": NeedleTask("essay", "words", "numbers", values_per_key=4),
    "niah_multiquery": NeedleTask("essay", "words", "numbers", num_keys=4, num_queries=4),
}
CHAIN_TASK = "vt"
SINGLE_ANSWER = tuple(name for name, task in NEEDLE_TASKS.items() if task.one_answer)


@dataclasses.dataclass
class Sample:
    """A document, a question and where its answers are."""

    task: str
    document: str
    question: str
    answer_prefix: str
    answers: list[str]
    # Of each queried needle: byte offsets of its key's first and behind its value's last byte.
    needles: list[tuple[int, int]]


class Lengths:
    """How many tokens a text has, about: bytes a token are learned from a text of the same kind, counted once."""

    def __init__(self, count_tokens: Callable[[str], int]) -> None:
        self._count_tokens = count_tokens
        self._bytes_per_token: dict[str, float] = {}

    def tokens(self, kind: str, text: str, typical: Callable[[], str]) -> float:
        """typical: makes a longer text of that kind, called at its first use."""
        if kind not in self._bytes_per_token:
            long_text = typical()
            self._bytes_per_token[kind] = len(long_text.encode()) / self._count_tokens(long_text)
        return len(text.encode()) / self._bytes_per_token[kind]


def make(task_name: str, seed: int, num_tokens: int, prose: Sequence[str], lengths: Lengths) -> Sample:
    """A sample whose document has about num_tokens tokens, and not more. prose: sentences of a long text."""
    rng = random.Random(f"{task_name}/{seed}/{num_tokens}")
    if task_name == CHAIN_TASK:
        return _variable_tracking(rng, num_tokens, lengths)
    task = NEEDLE_TASKS[task_name]
    keys: list[str] = []
    while len(keys) < task.num_keys:
        keys = list(dict.fromkeys([*keys, _random_item(rng, task.key_kind)]))
    values = {key: [_random_item(rng, task.value_kind) for _ in range(task.values_per_key)] for key in keys}
    hidden = [(key, value) for key in keys for value in values[key]]
    rng.shuffle(hidden)
    needles = [needle_sentence(task.value_kind, key, value) for key, value in hidden]
    room = num_tokens - NEEDLE_ROOM * len(needles)
    if task.haystack == "essay":
        document = _hide_in_prose(rng, needles, room, prose, lengths)
    else:
        document = _hide_in_lines(rng, needles, room, task, lengths)
    asked = keys[: task.num_queries]
    places = []
    for key, value in ((key, value) for key in asked for value in values[key]):
        sentence = needle_sentence(task.value_kind, key, value)
        begin = len(document[: document.index(sentence)].encode())
        places.append((begin + sentence.index(key), begin + sentence.index(value) + len(value)))
    question, prefix = wording(task, asked)
    return Sample(task_name, document, question, prefix, [value for key in asked for value in values[key]], places)


def needle_sentence(value_kind: str, key: str, value: str) -> str:
    return f"One of the special magic {value_kind} for {key} is: {value}."


def wording(task: NeedleTask, asked: Sequence[str]) -> tuple[str, str]:
    """Question and beginning of the answer."""
    keys = asked[0] if len(asked) == 1 else f"{', '.join(asked[:-1])}, and {asked[-1]}"
    if task.one_answer:
        kind = task.value_kind.removesuffix("s")
        question = f"What is the special magic {kind} for {keys} mentioned in the provided text?"
        return question, f" The special magic {kind} for {keys} mentioned in the provided text is"
    question = f"What are all the special magic {task.value_kind} for {keys} mentioned in the provided text?"
    return question, f" The special magic {task.value_kind} for {keys} mentioned in the provided text are"


def score(answer: str, references: Sequence[str]) -> float:
    """RULER's `string_match_all`: the share of references found."""
    cleaned = re.sub(r"[\x00-\x1f]", "\n", answer.strip()).strip().lower()
    return sum(reference.lower() in cleaned for reference in references) / len(references)


def _random_item(rng: random.Random, kind: str) -> str:
    if kind == "numbers":
        return str(rng.randint(1_000_000, 9_999_999))
    if kind == "words":
        return f"{rng.choice(ADJECTIVES)}-{rng.choice(NOUNS)}"
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _hide_in_prose(
    rng: random.Random, needles: Sequence[str], room: int, prose: Sequence[str], lengths: Lengths
) -> str:
    at = rng.randrange(len(prose))
    body: list[str] = []
    used = 0.0
    while True:
        sentence = prose[(at + len(body)) % len(prose)]
        used += lengths.tokens("prose", sentence + " ", lambda: " ".join(prose[:: max(1, len(prose) // 1000)]))
        if used > room * 0.96:  # prose differs from page to page
            break
        body.append(sentence)
    depths = sorted(rng.sample(range(NUM_DEPTHS + 1), len(needles)), reverse=True)
    for depth, sentence in zip(depths, needles):
        body.insert(round(len(body) * depth / NUM_DEPTHS), sentence)
    return " ".join(body)


def _hide_in_lines(rng: random.Random, needles: Sequence[str], room: int, task: NeedleTask, lengths: Lengths) -> str:
    def line() -> str:
        if task.haystack == "noise":
            return NOISE
        key, value = _random_item(rng, task.key_kind), _random_item(rng, task.value_kind)
        return needle_sentence(task.value_kind, key, value)

    kind = f"{task.haystack} of {task.key_kind}"
    per_line = lengths.tokens(kind, line() + "\n", lambda: "\n".join(line() for _ in range(500)))
    body = [line() for _ in range(int(room * 0.99 / per_line))]
    for sentence in needles:
        body.insert(rng.randint(0, len(body)), sentence)
    return "\n".join(body)


def _variable_tracking(rng: random.Random, num_tokens: int, lengths: Lengths) -> Sample:
    names: list[str] = []
    while len(names) < CHAIN_NAMES:
        names = list(dict.fromkeys([*names, "".join(rng.choices(string.ascii_uppercase, k=5))]))
    value = str(rng.randint(10_000, 99_999))
    links = [f"VAR {names[0]} = {value}"] + [f"VAR {new} = VAR {old} " for old, new in zip(names, names[1:])]
    per_line = lengths.tokens("noise of words", NOISE + "\n", lambda: "\n".join([NOISE] * 500))
    body = [NOISE] * int((num_tokens - NEEDLE_ROOM * len(links)) * 0.99 / per_line)
    places = sorted(rng.sample(range(len(body)), len(links)))
    for place, link in reversed(list(zip(places, links))):
        body.insert(place, link)
    document = "\n".join(body)
    needles = [(document.index(link), document.index(link) + len(link.rstrip())) for link in links]
    return Sample(
        task=CHAIN_TASK,
        document=document,
        question=f"Find all variables that are assigned the value {value} in the text above.",
        answer_prefix=" Answer: According to the chain(s) of variable assignment in the text above, "
        f"{CHAIN_NAMES} variables are assigned the value {value}, they are: ",
        answers=names,
        needles=needles,
    )
