"""Are a recipe's profiles better than rivals? By cross-validation: each quarter of a SQuAD-format file's articles is held
out once, a profile is calibrated from the others, and asked all questions about the quarter. So every question of the file
counts, each answered by heads that never saw its article, and intervals are half as wide as those of one quarter.

    PYTHONPATH=bench python3 -m harness.folds --squad FILE --minilm FOLDER --work FOLDER -- CALIBRATE_OPTIONS...

CALIBRATE_OPTIONS: of `ilre calibrate`, but for --squad, --output, --work and --holdout. What has been calibrated in the
work folder is not calibrated again. Prints figures as bench/engine does.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from harness import questions, squad
from harness.ilre import Engine, EngineError
from harness.report import Report, bootstrap_interval, machine, progress

FOLDS = 4
HOLDOUT = 1 - squad.HELD_OUT_FROM


def rotated(content: dict[str, object], fold: int) -> dict[str, object]:
    """The same articles, the fold-th quarter of them last: where both programs look for what is held out."""
    articles = content["data"]
    assert isinstance(articles, list)
    end = len(articles) * (fold + 1) // FOLDS
    return {**content, "data": articles[end:] + articles[:end]}


def _calibrate(engine: Engine, file: pathlib.Path, work: pathlib.Path, options: list[str]) -> pathlib.Path:
    profile = file.with_suffix(".profile.json")
    if profile.exists():
        return profile
    own = ["--squad", str(file), "--holdout", str(HOLDOUT), "--work", str(work), "--output", str(profile)]
    subprocess.run([engine.binary, "calibrate", "--model", engine.model, *own, *options], check=True, stdout=sys.stderr)
    return profile


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.folds", description="Cross-validates a recipe of calibration")
    parser.add_argument("--squad", type=pathlib.Path, required=True, help="its articles are a multiple of four")
    parser.add_argument("--minilm", help="as of bench/engine")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of files, profiles and layers' inputs")
    parser.add_argument("--ilre", help="the program")
    parser.add_argument("options", nargs="*", metavar="CALIBRATE_OPTION")
    arguments = parser.parse_args()
    content = json.loads(arguments.squad.read_text(encoding="utf-8"))
    if len(content["data"]) % FOLDS:
        parser.error(f"{arguments.squad} has {len(content['data'])} articles, not a multiple of {FOLDS}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    report, engine = Report(), Engine(arguments.ilre)
    report.add(machine())
    ours: questions.Shares = {budget: [] for budget in questions.BUDGETS}
    rivals: dict[str, questions.Shares] = {}
    for fold in range(FOLDS):
        file = arguments.work / f"fold-{fold}.squad.json"
        file.write_text(json.dumps(rotated(content, fold), ensure_ascii=False), encoding="utf-8")
        profile = _calibrate(engine, file, arguments.work / f"fold-{fold}", arguments.options)
        options = questions.Options(str(file), arguments.minilm)
        measured = questions.measure_shares(engine.with_profile(str(profile)), None, False, squad.read(file), options)
        progress(f"fold {fold + 1} of {FOLDS}: " + " / ".join(f"{statistics.fmean(v):.3f}" for v in measured.ours.values()))
        for budget in questions.BUDGETS:
            ours[budget] += measured.ours[budget]
            for name, shares in measured.rivals.items():
                rivals.setdefault(name, {}).setdefault(budget, []).extend(shares[budget])
    for budget, values in ours.items():
        details = {"interval_95": bootstrap_interval(values)}
        report.note(f"folds.recall_{budget}", statistics.fmean(values), n=len(values), details=details)
    questions.report_rivals(report, "folds", ours, rivals)


if __name__ == "__main__":
    try:
        main()
    except (EngineError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"folds: {error}")
