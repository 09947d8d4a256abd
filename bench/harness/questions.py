"""Questions about held-out paragraphs, natural and in other words: is the answer's sentence recalled as often as rivals
find it?

Rivals choose among the same segments with the same budget: BM25 (of the package rank_bm25) and, where its folder is
given, a sentence-embedding model, alone and fused with BM25.
"""

import dataclasses
import pathlib
import statistics
from typing import Any, Sequence

from harness import paraphrases, prose, rivals, squad
from harness.ilre import Engine, Store
from harness.report import Report, bootstrap_interval, progress

BUDGETS = (128, 256, 512)  # tokens
ALLOWANCE = 0.03  # below BM25
LEAST_OF_PARAPHRASES = 0.40  # recalled at the greatest budget
BYTES_PER_TOKEN = 4  # such text has rather more
DOCUMENT_TOKENS = 32_000
FILLER_BYTES = 2_000  # of a piece of prose among the paragraphs
SEED = 1

Parts = tuple[list[squad.Paragraph], list[squad.Paragraph]]  # that nobody asks about, and those with questions
Shares = dict[int, list[float]]  # by budget, of the answer's sentence that was recalled for each question


@dataclasses.dataclass
class Options:
    """Of the sections that ask about paragraphs."""

    squad: str | None = None  # a file
    minilm: str | None = None  # a folder
    num_tokens: int | None = None  # of the document, filled with prose up to it; None: paragraphs alone, within 32K


@dataclasses.dataclass
class Measured:
    document_tokens: int
    segments: int
    ours: Shares
    rivals: dict[str, Shares]  # by name


def measure(report: Report, engine: Engine, scratch: str | None, quick: bool, options: Options) -> None:
    if options.squad is None or not can_run(report, "questions", options):
        return
    measured = measure_shares(engine, scratch, quick, squad.read(pathlib.Path(options.squad)), options)
    report_rivals(report, "questions", measured.ours, measured.rivals)
    for budget in BUDGETS:
        least = round(statistics.fmean(measured.rivals["bm25"][budget]) - ALLOWANCE, 4)
        ours = measured.ours[budget]
        details = _details(measured, budget)
        report.at_least(f"questions.recall_{budget}", statistics.fmean(ours), least, n=len(ours), details=details)


def measure_paraphrases(report: Report, engine: Engine, scratch: str | None, quick: bool, options: Options) -> None:
    """Questions that share no content word with the sentence that answers them."""
    if options.squad is None or not can_run(report, "paraphrases", options):
        return
    try:
        parts = paraphrases.paragraphs(pathlib.Path(options.squad), "test")
    except paraphrases.ParaphraseError as error:
        report.skip("paraphrases", str(error))
        return
    measured = measure_shares(engine, scratch, quick, parts, options)
    report_rivals(report, "paraphrases", measured.ours, measured.rivals)
    for budget in BUDGETS:
        name, mean = f"paraphrases.recall_{budget}", statistics.fmean(measured.ours[budget])
        rest = {"n": len(measured.ours[budget]), "details": _details(measured, budget)}
        if budget == BUDGETS[-1]:
            report.at_least(name, mean, LEAST_OF_PARAPHRASES, **rest)
        else:
            report.note(name, mean, **rest)


def can_run(report: Report, section: str, options: Options) -> bool:
    """If not, the report says why."""
    missing = rivals.missing_package()
    if options.squad is None:
        missing = "no --squad FILE of questions in SQuAD's format was given"
    if missing:
        report.skip(section, missing)
    return not missing


def make_document(parts: Parts, num_tokens: int | None) -> tuple[str, list[squad.Question]]:
    filler = []
    if num_tokens:
        text = prose.passage(num_tokens * BYTES_PER_TOKEN, SEED)
        filler = [squad.Paragraph(text[at : at + FILLER_BYTES], []) for at in range(0, len(text), FILLER_BYTES)]
    return squad.make_document(*parts, (num_tokens or DOCUMENT_TOKENS) * BYTES_PER_TOKEN, SEED, filler)


def measure_shares(engine: Engine, scratch: str | None, quick: bool, parts: Parts, options: Options) -> Measured:
    document, questions = make_document(parts, DOCUMENT_TOKENS // 4 if quick else options.num_tokens)
    questions = questions[:20] if quick else questions
    with Store(engine, scratch) as store:
        tokens = store.ingest("paragraphs", document).tokens
        progress(f"{len(questions)} questions about {tokens} tokens")
        segments = store.segments("paragraphs")
        ours = recalled_by_engine(store, questions, segments)
    scores = rivals.score([question.text for question in questions], segments, options.minilm)
    others = {name: recalled_by_scores(rows, questions, segments) for name, rows in scores.items()}
    return Measured(tokens, len(segments), ours, others)


def recalled_by_engine(
    store: Store, questions: Sequence[squad.Question], segments: Sequence[squad.Segment], engine: Engine | None = None
) -> Shares:
    """About the document "paragraphs". engine: in place of the store's"""
    asked = [{"documents": ["paragraphs"], "question": question.text, "max_tokens": 0} for question in questions]
    shares: Shares = {budget: [] for budget in BUDGETS}
    for budget in BUDGETS:
        results, _ = store.ask_batch_measured([question | {"budget": budget} for question in asked], engine)
        for question, result in zip(questions, results):
            recalled = {t for span in result["spans"] for t in range(span["token_begin"], span["token_end"])}
            shares[budget].append(squad.share_recalled(question, segments, recalled))
    return shares


def recalled_by_scores(
    scores: rivals.Scores, questions: Sequence[squad.Question], segments: Sequence[squad.Segment]
) -> Shares:
    shares: Shares = {budget: [] for budget in BUDGETS}
    for question, row in zip(questions, scores):
        order = squad.ranking(row)
        for budget in BUDGETS:
            recalled = squad.fill(order, segments, budget)
            shares[budget].append(squad.share_recalled(question, segments, recalled))
    return shares


def report_rivals(report: Report, section: str, ours: Shares, rivals_shares: dict[str, Shares]) -> None:
    """Each rival's recall, and how much more ours is, in pairs."""
    for name, by_budget in rivals_shares.items():
        for budget, rival in by_budget.items():
            difference = [a - b for a, b in zip(ours[budget], rival)]
            details = {"interval_95": bootstrap_interval(rival), "ours_less_it": round(statistics.fmean(difference), 4)}
            details["ours_less_it_interval_95"] = bootstrap_interval(difference)
            report.note(f"{section}.{name}_{budget}", statistics.fmean(rival), n=len(rival), details=details)


def _details(measured: Measured, budget: int) -> dict[str, Any]:
    ours, bm25 = measured.ours[budget], measured.rivals["bm25"][budget]
    return {
        "document_tokens": measured.document_tokens,
        "segments": measured.segments,
        "interval_95": bootstrap_interval(ours),
        "whole": round(statistics.fmean(share == 1 for share in ours), 4),
        "bm25_whole": round(statistics.fmean(share == 1 for share in bm25), 4),
    }
