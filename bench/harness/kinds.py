"""Texts that are no English prose: is a planted fact recalled whole from code, tables, lists, logs, Chinese, Japanese?

Each kind is one text of real or plainly generated material with 40 facts planted in the kind's own form, of which each
is asked for. A fact is recalled if all bytes from its key to its value are. Chinese and Japanese are read from Debian's
packages debian-reference-zh-cn and debian-reference-ja, unpacked (dpkg -x) into a folder.
"""

import dataclasses
import html.parser
import itertools
import json
import pathlib
import random
import re
import statistics
import sysconfig
import textwrap
from typing import Any, Callable, Iterator

from harness import prose
from harness.ilre import Engine, Store
from harness.report import Report, bootstrap_interval, progress
from harness.words import ADJECTIVES, NOUNS

BUDGETS = (128, 256, 512)  # tokens
NUM_FACTS = 40
TEXT_BYTES = 100_000
CHINESE = (("红色", "银色", "古老", "安静", "黑色", "明亮", "沉重", "勇敢"), ("灯塔", "海鸥", "铁桥", "面包", "时钟", "茶壶", "风车", "雨伞"))
JAPANESE = (("赤い", "古い", "静かな", "黒い", "明るい", "重い", "丸い", "小さな"), ("灯台", "鉄橋", "時計", "風車", "鞄", "太鼓", "帽子", "机"))


@dataclasses.dataclass
class Fact:
    """What is planted: whole lines, sentences or fields. `key` and `value` stand in `text`, the key first."""

    text: str
    question: str
    key: str
    value: str


@dataclasses.dataclass
class Kind:
    """pieces: of the text, in order, joined by `joint`; facts stand between them. finish: of the whole text."""

    pieces: list[str]
    facts: list[Fact]
    joint: str = "\n"
    head: str = ""
    finish: Callable[[str], str] = lambda text: text


def _english_names(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """-> (adjective, noun, number), no pair twice."""
    pairs = rng.sample(list(itertools.product(ADJECTIVES, NOUNS)), NUM_FACTS)
    for adjective, noun in pairs:
        yield adjective, noun, str(rng.randint(10_000, 99_999))


def _facts(rng: random.Random, text: str, question: str, key: str) -> list[Fact]:
    """Of templates with {a}, {n} (words), {A}, {N} (in capitals) and {v}."""
    facts = []
    for a, n, v in _english_names(rng):
        names = {"a": a, "n": n, "A": a.upper(), "N": n.upper(), "v": v}
        facts.append(Fact(text.format(**names), question.format(**names), key.format(**names), v))
    return facts


def _python_sources(rng: random.Random) -> list[str]:
    """Whole top-level statements of modules of the standard library, in order."""
    pieces: list[str] = []
    files = sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py"))
    rng.shuffle(files)
    size = 0
    for file in files:
        if size > TEXT_BYTES:
            break
        piece: list[str] = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("def ", "class ", "import ", "from ")) and piece:
                pieces.append("\n".join(piece))
                piece = []
            piece.append(line)
        pieces.append("\n".join(piece))
        size += file.stat().st_size
    return pieces


def _code_constant(rng: random.Random, _: pathlib.Path | None) -> Kind:
    facts = _facts(rng, "MAX_{A}_{N} = {v}", "What is the value of MAX_{A}_{N}?", "MAX_{A}_{N}")
    return Kind(_python_sources(rng), facts)


def _code_body(rng: random.Random, _: pathlib.Path | None) -> Kind:
    body = 'def {a}_{n}_limit(self):\n    """The greatest number of entries."""\n    if self.closed:\n        return 0\n    return {v}\n'
    facts = _facts(rng, body, "Which number does the function {a}_{n}_limit return?", "{a}_{n}_limit")
    return Kind(_python_sources(rng), facts)


def _markdown_table(rng: random.Random, _: pathlib.Path | None) -> Kind:
    rows = [f"| {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} | {rng.randint(10_000, 99_999)} | {rng.choice(('open', 'sold'))} |"
            for _ in range(4000)]
    pieces = [f"\n## Hall {i}\n\n| Item | Price | State |\n|---|---|---|\n" + "\n".join(rows[i * 20 : i * 20 + 20]) for i in range(150)]
    return Kind(pieces, _facts(rng, "| {a} {n} lamp | {v} | open |", "What is the price of the {a} {n} lamp?", "{a} {n} lamp"))


def _markdown_list(rng: random.Random, _: pathlib.Path | None) -> Kind:
    def item(name: str) -> str:
        colour, room = rng.choice(ADJECTIVES), rng.randint(1, 99)
        return f"- **{name}**\n  - colour: {colour}\n  - room: {room}\n  - price: "

    pieces = [item(f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}") + str(rng.randint(10_000, 99_999)) for _ in range(1800)]
    facts = _facts(rng, "- **{a} {n} lamp**\n  - colour: green\n  - room: 7\n  - price: {v}",
                   "What is the price of the {a} {n} lamp?", "{a} {n} lamp")
    return Kind(pieces, facts)


def _log(rng: random.Random, _: pathlib.Path | None) -> Kind:
    def line(name: str, code: str) -> str:
        time = f"2026-03-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}Z"
        return f"{time} host{rng.randint(1, 9)} worker[{rng.randint(100, 9999)}]: job {name} finished with code {code} after {rng.randint(1, 900)} ms"

    pieces = [line(f"{rng.choice(ADJECTIVES)}-{rng.choice(NOUNS)}", str(rng.randint(10_000, 99_999))) for _ in range(1200)]
    facts = [Fact(line(f"{a}-{n}-x", v), f"With which code did the job {a}-{n}-x finish?", f"{a}-{n}-x", v)
             for a, n, v in _english_names(rng)]
    return Kind(pieces, facts)


def _csv(rng: random.Random, _: pathlib.Path | None) -> Kind:
    pieces = [f"{i},{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)},{rng.choice(NOUNS)},{rng.randint(10_000, 99_999)},{rng.random():.4f}"
              for i in range(2600)]
    facts = _facts(rng, "7,{a} {n} lamp,harbour,{v},0.5512", "What is the amount of the {a} {n} lamp?", "{a} {n} lamp")
    return Kind(pieces, facts, head="id,name,town,amount,share")


def _json_line(rng: random.Random, _: pathlib.Path | None) -> Kind:
    def entry(name: str, amount: str) -> str:
        return json.dumps({"id": rng.randint(1, 9999), "name": name, "town": rng.choice(NOUNS), "amount": int(amount)}, separators=(",", ":"))

    pieces = [entry(f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}", str(rng.randint(10_000, 99_999))) for _ in range(1500)]
    facts = [Fact(entry(f"{a} {n} lamp", v), f"What is the amount of the {a} {n} lamp?", f"{a} {n} lamp", v)
             for a, n, v in _english_names(rng)]
    return Kind(pieces, facts, joint=",")


def _sentences(rng: random.Random) -> list[str]:
    return prose.split_sentences(prose.passage(TEXT_BYTES, seed=rng.randrange(1 << 30)))


PROSE_FACT = ("The special number of the {a} {n} is {v}.", "What is the special number of the {a} {n}?", "{a} {n}")


def _one_line(rng: random.Random, _: pathlib.Path | None) -> Kind:
    """Prose without a stop or a line break."""
    strip = str.maketrans("", "", ".!?;:,()'")
    text, question, key = PROSE_FACT
    return Kind([s.translate(strip) for s in _sentences(rng)], _facts(rng, text.translate(strip), question, key), joint=" ")


def _wrapped(rng: random.Random, _: pathlib.Path | None) -> Kind:
    """Prose in lines of 72 characters."""
    wrap = lambda text: "\n\n".join(textwrap.fill(p, 72) for p in textwrap.wrap(text, 900))  # noqa: E731
    return Kind(_sentences(rng), _facts(rng, *PROSE_FACT), joint=" ", finish=wrap)


def _paragraphs(text: str, sentences: int) -> list[str]:
    parts = prose.split_sentences(text)
    return [" ".join(parts[i : i + sentences]) for i in range(0, len(parts), sentences)]


def _novel(rng: random.Random, _: pathlib.Path | None) -> Kind:
    """Prose in lines of 72 characters, of which the first of each paragraph is indented."""
    wrap = lambda text: "\n".join(textwrap.fill(p, 72, initial_indent="    ") for p in _paragraphs(text, 5))  # noqa: E731
    return Kind(_sentences(rng), _facts(rng, *PROSE_FACT), joint=" ", finish=wrap)


def _manual(rng: random.Random, _: pathlib.Path | None) -> Kind:
    """Prose as a manual's page is printed: headings, and below them indented lines."""

    def wrap(text: str) -> str:
        indent = " " * 7
        filled = [textwrap.fill(p, 78, initial_indent=indent, subsequent_indent=indent) for p in _paragraphs(text, 3)]
        return "\n\n".join(f"{rng.choice(NOUNS).upper()}\n{paragraph}" for paragraph in filled)

    return Kind(_sentences(rng), _facts(rng, *PROSE_FACT), joint=" ", finish=wrap)


class _Paragraphs(html.parser.HTMLParser):
    """The text of a page, a paragraph or list item a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("p", "li", "dt", "td", "pre", "h1", "h2", "h3", "h4"):
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        self.lines[-1] += "".join(data.splitlines())


def _pages(packages: pathlib.Path | None, language: str) -> list[str]:
    files = sorted((packages or pathlib.Path("/")).glob(f"usr/share/debian-reference/ch*.{language}.html"))
    lines: list[str] = []
    for file in files[4:]:  # not the lists of contents
        page = _Paragraphs()
        page.feed(file.read_text(encoding="utf-8"))
        lines += [line.strip() for line in page.lines if len(line.strip()) > 20]
        if sum(len(line.encode()) for line in lines) > TEXT_BYTES:
            break
    return lines


def _foreign(language: str, names: tuple[tuple[str, ...], tuple[str, ...]], text: str, question: str) -> Callable[..., Kind]:
    def make(rng: random.Random, packages: pathlib.Path | None) -> Kind:
        pairs = rng.sample(["".join(pair) for pair in itertools.product(*names)], NUM_FACTS)
        facts = []
        for key in pairs:
            value = str(rng.randint(10_000, 99_999))
            facts.append(Fact(text.format(key, value), question.format(key), key, value))
        return Kind(_pages(packages, language), facts)

    return make


KINDS: dict[str, Callable[[random.Random, pathlib.Path | None], Kind]] = {
    "code_constant": _code_constant,
    "code_body": _code_body,
    "markdown_table": _markdown_table,
    "markdown_list": _markdown_list,
    "log": _log,
    "csv": _csv,
    "json_line": _json_line,
    "one_line": _one_line,
    "wrapped": _wrapped,
    "novel": _novel,
    "manual": _manual,
    "chinese": _foreign("zh-cn", CHINESE, "在仓库登记的时候，{}的编号是{}，请妥善保管。", "{}的编号是多少？"),
    "japanese": _foreign("ja", JAPANESE, "倉庫に登録したとき、{}の番号は{}でした。", "{}の番号はいくつですか？"),
}


def measure(report: Report, engine: Engine, scratch: str | None, quick: bool, packages: str | None, only: list[str] | None) -> None:
    folder = pathlib.Path(packages) if packages else None
    for name in only or KINDS:
        kind = KINDS[name](random.Random(7), folder)
        if not kind.pieces:
            report.skip(f"kinds.{name}", "no --packages FOLDER with debian-reference in this language unpacked")
            continue
        with Store(engine, scratch) as store:
            _measure_kind(report, store, name, kind, quick)


def build(kind: Kind) -> str:
    """The text, with its facts at even distances and not before a tenth of it."""
    pieces: list[str] = []
    size = 0
    for piece in kind.pieces:
        pieces.append(piece)
        size += len(piece.encode())
        if size > TEXT_BYTES:
            break
    first, step = len(pieces) / 10, len(pieces) * 0.9 / len(kind.facts)
    for i, fact in reversed(list(enumerate(kind.facts))):
        pieces.insert(int(first + i * step), fact.text)
    return kind.head + ("\n" if kind.head else "") + kind.finish(kind.joint.join(pieces))


def place_of(text: str, fact: Fact) -> tuple[int, int]:
    """Bytes from the key to the end of the value, whatever white space stands within."""
    begin = re.search(r"\s+".join(map(re.escape, fact.key.split())), text).start()
    end = text.index(fact.value, begin) + len(fact.value)
    return len(text[:begin].encode()), len(text[:end].encode())


def covered(spans: list[dict[str, Any]], begin: int, end: int) -> bool:
    """Whether spans, which come in order, hold all of it."""
    for span in spans:
        if span["byte_begin"] <= begin < span["byte_end"]:
            begin = span["byte_end"]
    return begin >= end


def _measure_kind(report: Report, store: Store, name: str, kind: Kind, quick: bool) -> None:
    text = build(kind)
    done = store.ingest("text", text)
    places = [place_of(text, fact) for fact in kind.facts]
    lengths = [segment.num_tokens for segment in store.segments("text")]
    progress(f"{name}: {done.tokens} tokens in {len(lengths)} segments")
    for budget in BUDGETS[-1:] if quick else BUDGETS:
        questions = ({"documents": ["text"], "question": f.question, "budget": budget, "max_tokens": 0} for f in kind.facts)
        answers = store.ask_batch(questions)
        recalled = [covered(answer["spans"], *place) for answer, place in zip(answers, places)]
        shown = [[span for span in answer["spans"] if span["in_prompt"]] for answer in answers]
        in_prompt = [covered(spans, *place) for spans, place in zip(shown, places)]
        tokens = [sum(span["token_end"] - span["token_begin"] for span in spans) for spans in shown]
        details = {
            "interval": bootstrap_interval(recalled),
            "in_prompt": statistics.fmean(in_prompt),
            "in_prompt_interval": bootstrap_interval(in_prompt),
            "prompt_tokens": statistics.fmean(tokens),
            "document_tokens": done.tokens,
            "segment_tokens": {"median": statistics.median(lengths), "greatest": max(lengths)},
        }
        report.note(f"kinds.{name}_{budget}", statistics.fmean(recalled), n=len(recalled), details=details)
