"""What rivals choose of `ilre eval`'s samples, so that it answers from that as from what the engine recalls.

    ilre eval --output answers --lengths 4096 --write-samples
    PYTHONPATH=bench python -m harness.choose answers/samples.jsonl answers --minilm FOLDER
    ilre eval --output answers --lengths 4096 --chosen minilm=answers/minilm.jsonl
"""

import argparse
import contextlib
import json
import pathlib
from typing import Any, Sequence

from harness import rivals, squad
from harness.report import progress


def segments_of(sample: dict[str, Any]) -> list[squad.Segment]:
    document = sample["document"].encode()
    segments, token = [], 0
    for begin, end, tokens in sample["segments"]:
        segments.append(squad.Segment(token, token + tokens, begin, end, document[begin:end].decode(errors="replace")))
        token += tokens
    return segments


def choice(sample: dict[str, Any], budget: int, segments: Sequence[squad.Segment]) -> str:
    """A line for `ilre eval --chosen`."""
    ranges = [[segment.byte_begin, segment.byte_end] for segment in segments]
    key = {name: sample[name] for name in ("task", "length", "index")}
    return json.dumps({**key, "budget": budget, "ranges": ranges}) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.choose", description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=pathlib.Path, help="that `ilre eval --write-samples` wrote")
    parser.add_argument("folder", type=pathlib.Path, help="where NAME.jsonl is written for each rival")
    parser.add_argument("--rivals", nargs="+", choices=rivals.NAMES, default=["minilm"], metavar="NAME", help=f"of {', '.join(rivals.NAMES)} [minilm]")
    parser.add_argument("--minilm", metavar="FOLDER", help="all-MiniLM-L6-v2")
    parser.add_argument("--budget", type=int, nargs="+", default=[512], metavar="TOKENS")
    arguments = parser.parse_args()
    if arguments.minilm is None and arguments.rivals != ["bm25"]:
        parser.error("all rivals but bm25 need --minilm")
    if missing := rivals.missing_package():
        parser.error(missing)
    # Each under its name only when it is whole: half of it would be taken for all.
    parts = {name: arguments.folder / f"{name}.jsonl.part" for name in arguments.rivals}
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(part.open("w")) for name, part in parts.items()}
        samples = stack.enter_context(arguments.samples.open(encoding="utf-8"))
        for number, sample in enumerate(map(json.loads, samples)):
            segments = segments_of(sample)
            scores = rivals.score([sample["question"]], segments, arguments.minilm, arguments.rivals)
            for name, file in files.items():
                for budget in arguments.budget:
                    file.write(choice(sample, budget, squad.chosen(scores[name][0], segments, budget)))
            if number % 100 == 0:
                progress(f"sample {number}")
    for part in parts.values():
        part.rename(part.with_suffix(""))


if __name__ == "__main__":
    main()
