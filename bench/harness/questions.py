"""Questions about held-out paragraphs, natural and in other words: is the answer's sentence recalled as often as rivals
find it?

Rivals choose among the same segments with the same budget: BM25 (of the package rank_bm25) and, where its folder is
given, a sentence-embedding model, alone and fused with BM25.
"""

import dataclasses
import pathlib
import statistics
from typing import Any

from harness import minilm, paraphrases, squad
from harness.ilre import Engine, Store
from harness.report import Report, bootstrap_interval, progress

BUDGETS = (128, 256, 512)  # tokens
ALLOWANCE = 0.03  # below BM25
LEAST_OF_PARAPHRASES = 0.40  # recalled at the greatest budget
DOCUMENT_BYTES = 32_000 * 4  # such text has rather more than four bytes a token: within 32K tokens
SEED = 1


@dataclasses.dataclass
class Measured:
    """Shares of the answer's sentence that were recalled, for each question, by budget."""

    document_tokens: int
    segments: int
    ours: dict[int, list[float]]
    bm25: dict[int, list[float]]
    rivals: dict[str, dict[int, list[float]]]  # by name, with the embedding model


def measure(
    report: Report, engine: Engine, scratch: str | None, quick: bool, file: str | None, minilm_folder: str | None = None
) -> None:
    if not _can_run(report, "questions", file):
        return
    measured = _measure(engine, scratch, quick, squad.read(pathlib.Path(file)), minilm_folder)
    _report_rivals(report, "questions", measured)
    for budget in BUDGETS:
        least = round(statistics.fmean(measured.bm25[budget]) - ALLOWANCE, 4)
        ours = measured.ours[budget]
        details = _details(measured, budget)
        report.at_least(f"questions.recall_{budget}", statistics.fmean(ours), least, n=len(ours), details=details)


def measure_paraphrases(
    report: Report, engine: Engine, scratch: str | None, quick: bool, file: str | None, minilm_folder: str | None = None
) -> None:
    """Questions that share no content word with the sentence that answers them."""
    if not _can_run(report, "paraphrases", file):
        return
    try:
        parts = paraphrases.paragraphs(pathlib.Path(file), "test")
    except paraphrases.ParaphraseError as error:
        report.skip("paraphrases", str(error))
        return
    measured = _measure(engine, scratch, quick, parts, minilm_folder)
    _report_rivals(report, "paraphrases", measured)
    for budget in BUDGETS:
        name, mean = f"paraphrases.recall_{budget}", statistics.fmean(measured.ours[budget])
        rest = {"n": len(measured.ours[budget]), "details": _details(measured, budget)}
        if budget == BUDGETS[-1]:
            report.at_least(name, mean, LEAST_OF_PARAPHRASES, **rest)
        else:
            report.note(name, mean, **rest)


def _can_run(report: Report, section: str, file: str | None) -> bool:
    if file is None:
        report.skip(section, "no --squad FILE of questions in SQuAD's format was given")
        return False
    try:
        import rank_bm25  # pylint: disable=import-outside-toplevel,unused-import
    except ImportError:
        report.skip(section, "no rank_bm25: .venv/bin/pip install rank-bm25")
        return False
    return True


def _measure(
    engine: Engine,
    scratch: str | None,
    quick: bool,
    parts: tuple[list[squad.Paragraph], list[squad.Paragraph]],
    minilm_folder: str | None,
) -> Measured:
    """parts: paragraphs that nobody asks about, and those with questions."""
    from rank_bm25 import BM25Okapi  # pylint: disable=import-outside-toplevel

    document, questions = squad.make_document(*parts, DOCUMENT_BYTES // (4 if quick else 1), SEED)
    questions = questions[:20] if quick else questions
    with Store(engine, scratch) as store:
        tokens = store.ingest("paragraphs", document).tokens
        progress(f"{len(questions)} questions about {tokens} tokens")
        segments = [squad.Segment(**segment) for segment in store.segments("paragraphs")]
        ours = {budget: _recall_by_engine(store, questions, segments, budget) for budget in BUDGETS}
    bm25 = BM25Okapi([squad.words(segment.text) for segment in segments])
    by_words = [list(bm25.get_scores(squad.words(question.text))) for question in questions]
    by_meaning = _by_meaning(questions, segments, by_words, minilm_folder)
    recall = lambda scores: {b: _recall_by_scores(scores, questions, segments, b) for b in BUDGETS}
    rivals = {name: recall(scores) for name, scores in by_meaning.items()}
    return Measured(tokens, len(segments), ours, recall(by_words), rivals)


def _report_rivals(report: Report, section: str, measured: Measured) -> None:
    for name, by_budget in measured.rivals.items():
        for budget, rival in by_budget.items():
            difference = [a - b for a, b in zip(measured.ours[budget], rival)]
            details = {"interval_95": bootstrap_interval(rival), "ours_less_it": round(statistics.fmean(difference), 4)}
            details["ours_less_it_interval_95"] = bootstrap_interval(difference)
            report.note(f"{section}.{name}_{budget}", statistics.fmean(rival), n=len(rival), details=details)


def _recall_by_engine(
    store: Store, questions: list[squad.Question], segments: list[squad.Segment], budget: int
) -> list[float]:
    asked = [
        {"documents": ["paragraphs"], "question": question.text, "budget": budget, "max_tokens": 0}
        for question in questions
    ]
    shares = []
    for question, result in zip(questions, store.ask_batch(asked)):
        recalled = {t for span in result["spans"] for t in range(span["token_begin"], span["token_end"])}
        shares.append(squad.share_recalled(question, segments, recalled))
    return shares


def _by_meaning(
    questions: list[squad.Question], segments: list[squad.Segment], by_words: list[list[float]], folder: str | None
) -> dict[str, list[list[float]]]:
    """-> for each way with the embedding model [questions][segments] scores."""
    if folder is None:
        return {}
    model = minilm.SentenceVectors(pathlib.Path(folder))
    texts = [segment.text for segment in segments]
    asked = model.encode([question.text for question in questions])
    alone = (asked @ model.encode(texts).T).tolist()
    near = (asked @ model.encode(minilm.with_neighbours(texts)).T).tolist()
    fused = [
        [cosine + words / max(1e-6, max(row_words)) for cosine, words in zip(row, row_words)]
        for row, row_words in zip(alone, by_words)
    ]
    return {"minilm": alone, "minilm_neighbours": near, "minilm_and_bm25": fused}


def _recall_by_scores(
    scores: list[list[float]], questions: list[squad.Question], segments: list[squad.Segment], budget: int
) -> list[float]:
    shares = []
    for question, row in zip(questions, scores):
        order = sorted(range(len(segments)), key=lambda index: -row[index])
        shares.append(squad.share_recalled(question, segments, squad.fill(order, segments, budget)))
    return shares


def _details(measured: Measured, budget: int) -> dict[str, Any]:
    ours, bm25 = measured.ours[budget], measured.bm25[budget]
    return {
        "document_tokens": measured.document_tokens,
        "segments": measured.segments,
        "bm25": round(statistics.fmean(bm25), 4),
        "interval_95": bootstrap_interval(ours),
        "bm25_interval_95": bootstrap_interval(bm25),
        "difference_interval_95": bootstrap_interval([a - b for a, b in zip(ours, bm25)]),
        "whole": round(statistics.fmean(share == 1 for share in ours), 4),
        "bm25_whole": round(statistics.fmean(share == 1 for share in bm25), 4),
    }
