"""How much better one mode of `ilre eval` answers than another, in pairs of the same samples: for each length the mean over
tasks, with its 95% interval of samples drawn within tasks.

    PYTHONPATH=bench python -m harness.paired answers:default:512 rag:minilm:128 --without cwe fwe
"""

import argparse
import json
import pathlib
import statistics
from typing import Sequence

from harness.report import interval_of_means

Scores = dict[tuple[int, str], dict[int, float]]  # by length and task, by the sample's index


def read(mode: str) -> Scores:
    """mode: FOLDER:MODE:BUDGET"""
    folder, name, budget = mode.rsplit(":", 2)
    scores: Scores = {}
    for line in (pathlib.Path(folder) / "results.jsonl").read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        if result.get("mode") == name and result.get("budget") == int(budget):
            scores.setdefault((result["length"], result["task"]), {})[result["index"]] = result["score"]
    return scores


def differences(one: Scores, other: Scores, without: Sequence[str]) -> dict[int, list[list[float]]]:
    """-> by length [tasks][samples that both have]"""
    by_length: dict[int, list[list[float]]] = {}
    for (length, task), scores in sorted(one.items()):
        common = scores.keys() & other.get((length, task), {}).keys()
        if common and task not in without:
            pairs = [scores[index] - other[length, task][index] for index in sorted(common)]
            by_length.setdefault(length, []).append(pairs)
    return by_length


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.paired", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("one", metavar="FOLDER:MODE:BUDGET", help="of an evaluation's output")
    parser.add_argument("other", metavar="FOLDER:MODE:BUDGET", help="of the same samples")
    parser.add_argument("--without", nargs="+", default=[], metavar="TASK")
    arguments = parser.parse_args()
    for length, tasks in differences(read(arguments.one), read(arguments.other), arguments.without).items():
        samples = [len(pairs) for pairs in tasks]
        low, high = interval_of_means(tasks)
        mean = statistics.fmean(map(statistics.fmean, tasks))
        print(f"{length} tokens, {len(tasks)} tasks, {min(samples)} to {max(samples)} samples: {mean:+.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
