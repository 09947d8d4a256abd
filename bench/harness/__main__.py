"""bench/engine: measures the engine and prints each figure as one line of JSON."""

import argparse
import sys
from typing import Callable

from harness import against_llama, answers, comparison, kill, kinds, million, needles, pieces, questions
from harness.ilre import Engine, EngineError
from harness.prose import ProseMissingError
from harness.report import Report, machine, progress


def parse_arguments(sections: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/engine",
        description="Measures the engine through the ilre program. Prints a JSON object a line on standard output "
        "{name, value, n, bar, passed, details}, progress on standard error.",
    )
    parser.add_argument("--only", nargs="+", choices=sections, metavar="NAME", help=f"of {', '.join(sections)}")
    parser.add_argument("--quick", action="store_true", help="small versions of all, to try them; no figures to report")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its bar")
    parser.add_argument("--squad", metavar="FILE", help="questions in SQuAD's format; its last quarter is held out")
    parser.add_argument("--minilm", metavar="FOLDER", help="all-MiniLM-L6-v2, to compare with in sections questions, paraphrases, comparison, answers")
    parser.add_argument("--question-tokens", type=int, metavar="N", help="of the text in sections questions, paraphrases, answers, filled up with prose [paragraphs alone]")
    parser.add_argument("--compare", nargs="*", metavar="PROFILE", help="with the engine's own in section comparison [best and paper]")
    parser.add_argument("--samples", type=int, default=5, metavar="N", help="of a task in section comparison [%(default)s]")
    parser.add_argument("--packages", metavar="FOLDER", help="Debian's debian-reference-{ja,zh-cn}, unpacked, for section kinds")
    parser.add_argument("--kinds", nargs="+", choices=kinds.KINDS, metavar="KIND", help=f"of section kinds: {', '.join(kinds.KINDS)}")
    parser.add_argument("--lengths", type=int, nargs="+", metavar="TOKENS", help="in section needles [all]")
    parser.add_argument("--kills", type=int, default=100, help="in section kill [%(default)s]")
    parser.add_argument("--ilre", metavar="FILE", help="the program [build/release/bin/ilre]")
    parser.add_argument("--model", help="as of ilre")
    parser.add_argument("--profile", help="as of ilre")
    parser.add_argument("--scratch", metavar="FOLDER", help="where data directories are made and removed [$TMPDIR]")
    return parser.parse_args()


def main() -> int:
    names = ["needles", "questions", "paraphrases", "comparison", "answers", "kinds", "million", "llama", "kill", "pieces"]
    arguments = parse_arguments(names)
    report = Report()
    engine = Engine(arguments.ilre, arguments.model, arguments.profile)
    common = (report, engine, arguments.scratch, arguments.quick)
    about_paragraphs = questions.Options(arguments.squad, arguments.minilm, arguments.question_tokens)
    sections: dict[str, Callable[[], None]] = {
        "needles": lambda: needles.measure(*common, arguments.lengths),
        "questions": lambda: questions.measure(*common, about_paragraphs),
        "paraphrases": lambda: questions.measure_paraphrases(*common, about_paragraphs),
        "comparison": lambda: comparison.measure(*common, about_paragraphs, arguments.compare, arguments.samples),
        "answers": lambda: answers.measure(*common, about_paragraphs),
        "kinds": lambda: kinds.measure(*common, arguments.packages, arguments.kinds),
        "million": lambda: million.measure(*common),
        "llama": lambda: against_llama.measure(*common, arguments.model),
        "kill": lambda: kill.measure(*common, arguments.kills),
        "pieces": lambda: pieces.measure(*common),
    }
    report.add(machine())
    for name in arguments.only or names:
        progress(f"--- {name}")
        sections[name]()
    if report.missed:
        progress(f"missed: {', '.join(report.missed)}")
    return 1 if arguments.check and report.missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EngineError, ProseMissingError, OSError) as error:
        sys.exit(f"bench/engine: {error}")
