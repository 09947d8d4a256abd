"""What the services speak about, as plain values. Byte and token offsets count from 0; ends are exclusive."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import Any


class DocumentState(enum.Enum):
    """Where a document is in its life."""

    UNSPECIFIED = "UNSPECIFIED"  # also: a state that this client is too old to know
    INGESTING = "INGESTING"
    READY = "READY"
    FAILED = "FAILED"


class FinishReason(enum.Enum):
    """Why an answer ended."""

    UNSPECIFIED = "UNSPECIFIED"  # also: a reason that this client is too old to know
    END_TOKEN = "END_TOKEN"
    STOP_STRING = "STOP_STRING"
    MAX_TOKENS = "MAX_TOKENS"
    CONTEXT_FULL = "CONTEXT_FULL"


@dataclasses.dataclass(frozen=True)
class Document:
    """A text that is read once and then asked any number of questions."""

    name: str  # collections/{collection}/documents/{document}
    state: DocumentState
    committed_bytes: int  # that survive a crash; the size of a READY document
    token_count: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    expire_time: datetime.datetime | None  # None: never
    etag: str
    failure: str  # of a FAILED document: why
    model_fingerprint: str
    tokenizer_fingerprint: str
    profile_fingerprint: str


@dataclasses.dataclass(frozen=True)
class Span:
    """Consecutive tokens of one document that were recalled for a question."""

    document: str
    token_begin: int
    token_end: int
    byte_begin: int
    byte_end: int
    score: float
    in_prompt: bool  # False: recalled, but scored too low to stand in the prompt
    text: str
    token_ids: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Timings:
    """Milliseconds; 0 where a stage did not run."""

    queue_ms: float = 0
    query_ms: float = 0
    score_ms: float = 0
    rerank_ms: float = 0
    prefill_ms: float = 0
    first_token_ms: float = 0
    total_ms: float = 0
    second_look_ms: float = 0


@dataclasses.dataclass(frozen=True)
class IngestProgress:
    """How far an ingest has come."""

    committed_bytes: int
    token_count: int
    computed_tokens: int  # by the running call; 0 where the content was stored already
    total_bytes: int | None = None  # of the source, where it is known
    document: Document | None = None


@dataclasses.dataclass(frozen=True)
class WordCount:
    """A word, and how often it (or another with the same first six characters) stands in all documents together."""

    word: str
    count: int


@dataclasses.dataclass(frozen=True)
class WordCounts:
    """Instead of searching, words were counted: most frequent first; `total`, of all words that count."""

    words: tuple[WordCount, ...]
    total: int


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """What was recalled."""

    spans: tuple[Span, ...]
    document_tokens: int
    document_count: int
    recalled_tokens: int
    timings: Timings
    look_count: int = 1  # how often the documents were searched
    word_counts: WordCounts | None = None  # None: words were not counted


@dataclasses.dataclass(frozen=True)
class Recall:
    """First event of an answer: what it is made from."""

    spans: tuple[Span, ...]
    document_tokens: int
    recalled_tokens: int
    prompt_tokens: int
    look_count: int = 1
    word_counts: WordCounts | None = None


@dataclasses.dataclass(frozen=True)
class Text:
    """The next piece of an answer."""

    text: str


@dataclasses.dataclass(frozen=True)
class Finish:
    """Last event of an answer."""

    reason: FinishReason
    answer_tokens: int
    timings: Timings


AnswerEvent = Recall | Text | Finish


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole answer."""

    text: str
    spans: tuple[Span, ...]
    document_tokens: int
    recalled_tokens: int
    prompt_tokens: int
    answer_tokens: int
    finish_reason: FinishReason
    timings: Timings
    look_count: int = 1
    word_counts: WordCounts | None = None


@dataclasses.dataclass(frozen=True)
class ScoredPart:
    """A part of a document and how strongly it answers a question."""

    byte_begin: int
    byte_end: int
    score: float


@dataclasses.dataclass(frozen=True)
class TextPiece:
    """A piece of a document's text."""

    text: str
    byte_begin: int
    document_bytes: int


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; the defaults always take the likeliest."""

    temperature: float = 0
    top_p: float = 0
    top_k: int = 0
    seed: int = 0
    repetition_penalty: float = 0


def _time(message: Any, field: str) -> datetime.datetime | None:
    if not message.HasField(field):
        return None
    return getattr(message, field).ToDatetime(tzinfo=datetime.timezone.utc)


def document_from(message: Any) -> Document:
    """Of an ilre.v1.Document."""
    states = {1: DocumentState.INGESTING, 2: DocumentState.READY, 3: DocumentState.FAILED}
    return Document(
        name=message.name,
        state=states.get(message.state, DocumentState.UNSPECIFIED),
        committed_bytes=message.committed_bytes,
        token_count=message.token_count,
        create_time=_time(message, "create_time"),
        update_time=_time(message, "update_time"),
        expire_time=_time(message, "expire_time"),
        etag=message.etag,
        failure=message.failure,
        model_fingerprint=message.model_fingerprint,
        tokenizer_fingerprint=message.tokenizer_fingerprint,
        profile_fingerprint=message.profile_fingerprint,
    )


def span_from(message: Any) -> Span:
    """Of an ilre.v1.Span."""
    return Span(
        message.document,
        message.token_begin,
        message.token_end,
        message.byte_begin,
        message.byte_end,
        message.score,
        message.in_prompt,
        message.text,
        tuple(message.token_ids),
    )


def timings_from(message: Any) -> Timings:
    """Of an ilre.v1.Timings."""
    return Timings(*(getattr(message, field.name) for field in dataclasses.fields(Timings)))


def progress_from(message: Any, total_bytes: int | None = None) -> IngestProgress:
    """Of an ilre.v1.IngestProgress."""
    return IngestProgress(
        message.committed_bytes,
        message.token_count,
        message.computed_tokens,
        total_bytes,
        document_from(message.document) if message.HasField("document") else None,
    )


def word_counts_from(message: Any) -> WordCounts | None:
    """Of an ilre.v1.RetrieveResponse or RetrieveSummary."""
    if not message.HasField("word_counts"):
        return None
    counts = message.word_counts
    return WordCounts(tuple(WordCount(word.word, word.count) for word in counts.words), counts.total)


def retrieval_from(message: Any) -> Retrieval:
    """Of an ilre.v1.RetrieveResponse."""
    return Retrieval(
        tuple(map(span_from, message.spans)),
        message.document_tokens,
        message.document_count,
        message.recalled_tokens,
        timings_from(message.timings),
        message.look_count,
        word_counts_from(message),
    )


def event_from(message: Any) -> AnswerEvent | None:
    """Of an ilre.v1.GenerateResponse; None for an event that this client is too old to know."""
    kind = message.WhichOneof("event")
    if kind == "recall":
        recall = message.recall
        spans = tuple(map(span_from, recall.spans))
        return Recall(
            spans,
            recall.document_tokens,
            recall.recalled_tokens,
            recall.prompt_tokens,
            recall.look_count,
            word_counts_from(recall),
        )
    if kind == "text":
        return Text(message.text)
    if kind == "finish":
        reasons = {1: FinishReason.END_TOKEN, 2: FinishReason.STOP_STRING, 3: FinishReason.MAX_TOKENS}
        reasons[4] = FinishReason.CONTEXT_FULL
        reason = reasons.get(message.finish.reason, FinishReason.UNSPECIFIED)
        return Finish(reason, message.finish.answer_tokens, timings_from(message.finish.timings))
    return None


def answer_from(events: list[AnswerEvent]) -> Answer:
    """Of all events of one answer."""
    recall = next((event for event in events if isinstance(event, Recall)), Recall((), 0, 0, 0))
    none = Finish(FinishReason.UNSPECIFIED, 0, Timings())
    finish = next((event for event in events if isinstance(event, Finish)), none)
    return Answer(
        "".join(event.text for event in events if isinstance(event, Text)),
        recall.spans,
        recall.document_tokens,
        recall.recalled_tokens,
        recall.prompt_tokens,
        finish.answer_tokens,
        finish.reason,
        finish.timings,
        recall.look_count,
        recall.word_counts,
    )
