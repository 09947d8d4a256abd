"""Ask questions of very long documents that an ILRe server has read once.

with ilre.Client("127.0.0.1:50051") as client:
    client.ingest("handbook", "handbook.txt")
    print(client.ask("Who approves travel?", "handbook").result().text)
"""

from ._channel import Tls
from ._retry import NO_RETRIES, RetryPolicy
from .aio import AsyncAnswerStream, AsyncClient
from .client import AnswerStream, Client
from .errors import (
    AbortedError,
    AlreadyExistsError,
    CancelledError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    IlreError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)
from .types import (
    Answer,
    AnswerEvent,
    Document,
    DocumentState,
    Finish,
    FinishReason,
    IngestProgress,
    Recall,
    Retrieval,
    Sampling,
    ScoredPart,
    Span,
    Text,
    TextPiece,
    Timings,
    WordCount,
    WordCounts,
)

__version__ = "0.1.0"
__all__ = [
    *("AbortedError", "AlreadyExistsError", "Answer", "AnswerEvent", "AnswerStream", "AsyncAnswerStream"),
    *("AsyncClient", "CancelledError", "Client", "DataLossError", "DeadlineExceededError", "Document"),
    *("DocumentState", "FailedPreconditionError", "FieldViolation", "Finish", "FinishReason", "IlreError"),
    *("IngestProgress", "InternalError", "InvalidArgumentError", "NO_RETRIES", "NotFoundError", "OutOfRangeError"),
    *("PermissionDeniedError", "Recall", "ResourceExhaustedError", "Retrieval", "RetryPolicy", "Sampling"),
    *("ScoredPart", "Span", "Text", "TextPiece", "Timings", "Tls", "UnauthenticatedError", "UnavailableError"),
    *("UnimplementedError", "UnknownError", "WordCount", "WordCounts"),
]
