"""Are questions answered better from what the engine recalls than by plain RAG?

The same model answers the same questions with the same prompt; only the text in it differs. A rival's is all segments
that it chose, in the document's order; the engine's is what comes above its profile's floor. As a ceiling the model
answers from the segments that hold the answer and nothing else.
"""

import json
import pathlib
import statistics
from typing import Sequence

from harness import paraphrases, questions, rivals, squad
from harness.ilre import ROOT, Engine, Store
from harness.report import Report, bootstrap_interval, progress

BUDGETS = (128, 512)  # tokens
RIVALS = ("bm25", "minilm", "minilm_and_bm25")  # those that recall best: neighbours only cost MiniLM recall
BEST = ROOT / "profiles/smollm2-135m-instruct.best.json"

Outcome = tuple[float, int]  # 1 if the answer holds a reference, and the tokens of text in the prompt


def measure(report: Report, engine: Engine, scratch: str | None, quick: bool, options: questions.Options) -> None:
    if options.squad is None or not questions.can_run(report, "answers", options):
        return
    file = pathlib.Path(options.squad)
    sections = {"questions": squad.read(file), "paraphrases": paraphrases.paragraphs(file, "test")}
    for section, parts in sections.items():
        document, asked = questions.make_document(parts, options.num_tokens)
        _measure(report, engine, scratch, f"answers.{section}", document, asked[:10] if quick else asked, options.minilm)


def _measure(
    report: Report,
    engine: Engine,
    scratch: str | None,
    section: str,
    document: str,
    asked: Sequence[squad.Question],
    minilm_folder: str | None,
) -> None:
    with Store(engine, scratch) as store:
        tokens = store.ingest("paragraphs", document).tokens
        segments = store.segments("paragraphs")
        progress(f"{section}: {len(asked)} questions about {tokens} tokens")
        budgets = ",".join(map(str, BUDGETS))
        ours = _answer(store, section, [document] * len(asked), asked, "--compare", f"best={BEST}", "--budget", budgets)
        for name, outcomes in ours.items():
            _note(report, f"{section}.{name}", outcomes, ours["default_512"])
        scores = rivals.score([question.text for question in asked], segments, minilm_folder)
        for name in RIVALS:
            for budget in BUDGETS if name in scores else ():
                texts = [_joined(squad.chosen(row, segments, budget)) for row in scores[name]]
                outcomes = _answer(store, f"{section}.{name}_{budget}", texts, asked, "--modes", "full")["full"]
                _note(report, f"{section}.{name}_{budget}", outcomes, ours["default_512"])
        texts = [_joined(squad.answer_segments(question, segments)) for question in asked]
        outcomes = _answer(store, f"{section}.ceiling", texts, asked, "--modes", "full")["full"]
        _note(report, f"{section}.ceiling", outcomes, ours["default_512"])


def _joined(segments: Sequence[squad.Segment]) -> str:
    """What the engine's prompt looks like: a line break where text was left out."""
    text, end = "", None
    for segment in segments:
        text += ("\n" if end not in (None, segment.byte_begin) else "") + segment.text
        end = segment.byte_end
    return text


def _answer(
    store: Store, name: str, texts: Sequence[str], asked: Sequence[squad.Question], *options: str
) -> dict[str, list[Outcome]]:
    """Of each question about its text. -> by mode, and where there are several budgets by MODE_BUDGET"""
    lines = [{"document": text, "question": q.text, "answers": q.answers} for text, q in zip(texts, asked)]
    file = store.folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    output = store.folder / name
    store.run("eval", "--output", str(output), "--questions", str(file), *options)
    outcomes: dict[str, list[Outcome]] = {}
    for line in (output / "results.jsonl").read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        if "task" in result:
            mode = f"{result['mode']}_{result['budget']}" if result["budget"] else result["mode"]
            outcomes.setdefault(mode, []).append((result["score"], result["context_tokens"]))
    return outcomes


def _note(report: Report, name: str, outcomes: Sequence[Outcome], ours: Sequence[Outcome]) -> None:
    """ours: of the default with the greatest budget, to compare in pairs."""
    right = [score for score, _ in outcomes]
    difference = [score - other for (score, _), other in zip(ours, right)]
    details = {
        "interval_95": bootstrap_interval(right),
        "tokens": round(statistics.fmean(tokens for _, tokens in outcomes), 1),
        "default_512_less_it": round(statistics.fmean(difference), 4),
        "default_512_less_it_interval_95": bootstrap_interval(difference),
    }
    report.note(name, statistics.fmean(right), n=len(right), details=details)
