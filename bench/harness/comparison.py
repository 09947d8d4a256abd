"""Every way of the program to choose text, and every rival, on the same texts with the same budgets: needles, chains,
natural questions and questions in other words.

Needles and chains count where they are whole in the prompt, questions by the share of the answer's sentence that was
recalled. What a rival chooses is all in its prompt.
"""

import dataclasses
import pathlib
import statistics
from typing import Any, Callable, Sequence

from harness import needles, paraphrases, prose, questions, rivals, squad, tasks
from harness.ilre import ROOT, Engine, Store
from harness.questions import BUDGETS, Shares
from harness.report import Report, bootstrap_interval, progress

LENGTH = 32_768  # tokens of a text of needles
SENTENCES = 1_600  # of prose that needles are hidden in, always the same, so that a model of sentences reads it once

Spans = list[dict[str, Any]]  # as `ilre ask --json` has them


def _one_look(profile: dict[str, Any]) -> None:
    profile["second_look"] = {"max_looks": 0}


def _no_lexical(profile: dict[str, Any]) -> None:
    _one_look(profile)
    profile["lexical"]["weight"] = 0


def _words_alone(profile: dict[str, Any]) -> None:
    _one_look(profile)
    profile["lexical"]["weight"] = 1
    profile["neighbour_weight"] = 0
    for head in profile["heads"]:
        head["weight"] = 0


# What is stored is the same for all of these.
MODES: dict[str, Callable[[dict[str, Any]], None]] = {
    "one_look": _one_look,
    "no_lexical": _no_lexical,
    "words_alone": _words_alone,
}


@dataclasses.dataclass
class Contenders:
    """The program with one stored form of a text: the profile's own mode and others."""

    engine: Engine
    modes: dict[str, Engine]


class Comparison:
    """Gathers what each contender recalled."""

    def __init__(self, report: Report, scratch: str | None, minilm_folder: str | None) -> None:
        self._report, self._scratch, self._minilm_folder = report, scratch, minilm_folder

    def questions(self, section: str, parts: questions.Parts, contenders: Sequence[Contenders], quick: bool) -> None:
        document, asked = questions.make_document(parts, questions.DOCUMENT_TOKENS // (4 if quick else 1))
        asked = asked[:20] if quick else asked
        segments: list[squad.Segment] = []
        for contender in contenders:
            with Store(contender.engine, self._scratch) as store:
                tokens = store.ingest("paragraphs", document).tokens
                segments = segments or store.segments("paragraphs")
                progress(f"{section}: {len(asked)} questions about {tokens} tokens, {', '.join(contender.modes)}")
                for name, engine in contender.modes.items():
                    self._note(section, name, questions.recalled_by_engine(store, asked, segments, engine))
        for name, scores in self._score([question.text for question in asked], segments).items():
            self._note(section, name, questions.recalled_by_scores(scores, asked, segments))

    def needles(self, samples: Sequence[tasks.Sample], contenders: Sequence[Contenders]) -> None:
        segments: list[list[squad.Segment]] = []  # of each sample, the same for all contenders
        for contender in contenders:
            with Store(contender.engine, self._scratch) as store:
                names = needles.read_all(store, samples)
                segments = segments or [store.segments(name) for name in names]
                for mode, engine in contender.modes.items():
                    asked = {b: needles.ask_all(store, samples, b, max_tokens=0, engine=engine) for b in BUDGETS}
                    chosen = {b: [answer["spans"] for answer in answers] for b, answers in asked.items()}
                    self._note_needles(mode, samples, chosen)
        scores = [self._score([sample.question], segments[i]) for i, sample in enumerate(samples)]
        for name in scores[0]:
            rows = [by_name[name][0] for by_name in scores]
            chosen = {b: [_best(row, segments[i], b) for i, row in enumerate(rows)] for b in BUDGETS}
            self._note_needles(name, samples, chosen)

    def _score(self, asked: Sequence[str], segments: Sequence[squad.Segment]) -> dict[str, rivals.Scores]:
        return rivals.score(asked, segments, self._minilm_folder) | {"window": rivals.window(asked, segments)}

    def _note_needles(self, name: str, samples: Sequence[tasks.Sample], chosen: dict[int, list[Spans]]) -> None:
        """chosen: by budget, of each sample."""
        found: dict[str, Shares] = {"needles": {b: [] for b in BUDGETS}, "chains": {b: [] for b in BUDGETS}}
        for budget, of_samples in chosen.items():
            for sample, spans in zip(samples, of_samples):
                hits = [needles.is_recalled(needle, spans) for needle in sample.needles]
                if sample.task == tasks.CHAIN_TASK:
                    found["chains"][budget].append(float(all(hits)))
                else:
                    found["needles"][budget].append(statistics.fmean(hits))
        for section, shares in found.items():
            self._note(section, name, shares)

    def _note(self, section: str, name: str, shares: Shares) -> None:
        for budget, values in shares.items():
            details = {"interval_95": bootstrap_interval(values)}
            self._report.note(f"{section}.{name}_{budget}", statistics.fmean(values), n=len(values), details=details)


def _best(row: Sequence[float], segments: Sequence[squad.Segment], budget: int) -> Spans:
    return [
        {"byte_begin": segment.byte_begin, "byte_end": segment.byte_end, "in_prompt": True}
        for segment in squad.chosen(row, segments, budget)
    ]


def measure(
    report: Report,
    engine: Engine,
    scratch: str | None,
    quick: bool,
    options: questions.Options,
    profiles: Sequence[str] | None,
    samples_per_task: int,
) -> None:
    """profiles: further ones to compare with the engine's own [`best` and the published method's]."""
    if options.squad is None or not questions.can_run(report, "comparison", options):
        return
    shipped = [str(ROOT / f"profiles/smollm2-135m-instruct.{name}.json") for name in ("best", "paper")]
    file = pathlib.Path(options.squad)
    estimate = needles.count_with(engine, scratch)
    with Store(engine, scratch) as files:  # for its folder
        own = {name: engine.with_changes(files.folder, name, change) for name, change in MODES.items()}
        contenders = [Contenders(engine, {"default": engine} | own)]
        for path in shipped if profiles is None else profiles:
            other = engine.with_profile(path)
            contenders.append(Contenders(other, {pathlib.Path(path).stem.rpartition(".")[2]: other}))
        comparison = Comparison(report, scratch, options.minilm)
        comparison.questions("questions", squad.read(file), contenders, quick)
        comparison.questions("paraphrases", paraphrases.paragraphs(file, "test"), contenders, quick)
        names = ["niah_single_2", tasks.CHAIN_TASK] if quick else [*tasks.NEEDLE_TASKS, tasks.CHAIN_TASK]
        samples = [
            tasks.make(name, seed, LENGTH // (8 if quick else 1), prose.sentences()[:SENTENCES], estimate)
            for name in names
            for seed in range(1 if quick else samples_per_task)
        ]
        comparison.needles(samples, contenders)
