"""Natural questions about held-out paragraphs: is the answer's sentence recalled as often as rivals find it?

Rivals choose among the same segments with the same budget: BM25 (of the package rank_bm25) and, where its folder is
given, a sentence-embedding model, alone and fused with BM25.
"""

import pathlib
import statistics
from typing import Any

from harness import minilm, squad
from harness.ilre import Engine, Store
from harness.report import Report, bootstrap_interval, progress

BUDGETS = (128, 256, 512)  # tokens
ALLOWANCE = 0.03  # below BM25
DOCUMENT_BYTES = 32_000 * 4  # such text has rather more than four bytes a token: within 32K tokens
SEED = 1


def measure(
    report: Report, engine: Engine, scratch: str | None, quick: bool, file: str | None, minilm_folder: str | None = None
) -> None:
    if file is None:
        report.skip("questions", "no --squad FILE of questions in SQuAD's format was given")
        return
    try:
        from rank_bm25 import BM25Okapi  # pylint: disable=import-outside-toplevel
    except ImportError:
        report.skip("questions", "no rank_bm25: .venv/bin/pip install rank-bm25")
        return
    trained, held_out = squad.read(pathlib.Path(file))
    document, questions = squad.make_document(trained, held_out, DOCUMENT_BYTES // (4 if quick else 1), SEED)
    questions = questions[:20] if quick else questions
    with Store(engine, scratch) as store:
        tokens = store.ingest("paragraphs", document).tokens
        progress(f"{len(questions)} questions about {tokens} tokens")
        segments = [squad.Segment(**segment) for segment in store.segments("paragraphs")]
        ours = {budget: _recall_by_engine(store, questions, segments, budget) for budget in BUDGETS}
    bm25 = BM25Okapi([squad.words(segment.text) for segment in segments])
    by_words = [list(bm25.get_scores(squad.words(question.text))) for question in questions]
    theirs = {budget: _recall_by_scores(by_words, questions, segments, budget) for budget in BUDGETS}
    for name, scores in _by_meaning(questions, segments, by_words, minilm_folder).items():
        for budget in BUDGETS:
            rival = _recall_by_scores(scores, questions, segments, budget)
            difference = [a - b for a, b in zip(ours[budget], rival)]
            details = {"interval_95": bootstrap_interval(rival), "ours_less_it": round(statistics.fmean(difference), 4)}
            details["ours_less_it_interval_95"] = bootstrap_interval(difference)
            report.note(f"questions.{name}_{budget}", statistics.fmean(rival), n=len(rival), details=details)
    for budget in BUDGETS:
        _report(report, budget, ours[budget], theirs[budget], {"document_tokens": tokens, "segments": len(segments)})


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


def _report(report: Report, budget: int, ours: list[float], theirs: list[float], details: dict[str, Any]) -> None:
    mean, rival_mean = statistics.fmean(ours), statistics.fmean(theirs)
    details |= {
        "bm25": round(rival_mean, 4),
        "interval_95": bootstrap_interval(ours),
        "bm25_interval_95": bootstrap_interval(theirs),
        "difference_interval_95": bootstrap_interval([a - b for a, b in zip(ours, theirs)]),
        "whole": round(statistics.fmean(share == 1 for share in ours), 4),
        "bm25_whole": round(statistics.fmean(share == 1 for share in theirs), 4),
    }
    report.at_least(f"questions.recall_{budget}", mean, round(rival_mean - ALLOWANCE, 4), n=len(ours), details=details)
