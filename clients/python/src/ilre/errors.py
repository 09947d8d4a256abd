"""What a server's refusals become: one exception class a canonical code, with the details that came along."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS = "grpc-status-details-bin"
REQUEST_ID = "x-request-id"


@dataclasses.dataclass(frozen=True)
class FieldViolation:
    """A field of the request that is wrong."""

    field: str
    description: str


class IlreError(Exception):
    """A call that failed. Its class says the canonical code; `reason` is stable and says exactly what."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: Sequence[FieldViolation] = (),
        resource: str = "",
        retry_delay: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason  # of the ErrorInfo, for example DOCUMENT_NOT_FOUND; empty if the server sent none
        self.metadata = dict(metadata or {})  # of the ErrorInfo: the figures that the message also says
        self.field_violations = tuple(field_violations)
        self.resource = resource  # name of the document that it is about; may be empty
        self.retry_delay = retry_delay  # seconds after which the server wants to be asked again; None: not said
        self.request_id = request_id  # to be found in the server's log

    def __str__(self) -> str:
        notes = [note for note in (self.reason, self.request_id and f"request {self.request_id}") if note]
        return f"{self.code.name}: {self.message}" + (f" ({', '.join(notes)})" if notes else "")


class CancelledError(IlreError):
    code = grpc.StatusCode.CANCELLED


class UnknownError(IlreError):
    code = grpc.StatusCode.UNKNOWN


class InvalidArgumentError(IlreError):
    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceededError(IlreError):
    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFoundError(IlreError):
    code = grpc.StatusCode.NOT_FOUND


class AlreadyExistsError(IlreError):
    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDeniedError(IlreError):
    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(IlreError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPreconditionError(IlreError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class AbortedError(IlreError):
    code = grpc.StatusCode.ABORTED


class OutOfRangeError(IlreError):
    code = grpc.StatusCode.OUT_OF_RANGE


class UnimplementedError(IlreError):
    code = grpc.StatusCode.UNIMPLEMENTED


class InternalError(IlreError):
    code = grpc.StatusCode.INTERNAL


class UnavailableError(IlreError):
    code = grpc.StatusCode.UNAVAILABLE


class DataLossError(IlreError):
    code = grpc.StatusCode.DATA_LOSS


class UnauthenticatedError(IlreError):
    code = grpc.StatusCode.UNAUTHENTICATED


_BY_CODE = {kind.code: kind for kind in IlreError.__subclasses__()}


def from_rpc_error(error: grpc.RpcError, request_id: str = "") -> IlreError:
    """The exception for what grpc raised; `request_id` is the one that was sent."""
    code = error.code() if callable(getattr(error, "code", None)) else grpc.StatusCode.UNKNOWN
    trailers = _trailers(error)
    found: dict[str, Any] = {"request_id": str(trailers.get(REQUEST_ID) or request_id)}
    status = status_pb2.Status()
    try:
        status.ParseFromString(trailers.get(_DETAILS, b""))
    except Exception:  # what a stranger in between made of it is no reason to hide the error itself
        status.Clear()
    for detail in status.details:
        _read_detail(detail, found)
    message = (error.details() if callable(getattr(error, "details", None)) else None) or str(error)
    return _BY_CODE.get(code, UnknownError)(message, **found)


def _trailers(error: grpc.RpcError) -> dict[str, Any]:
    if not callable(getattr(error, "trailing_metadata", None)):
        return {}
    return {key: value for key, value in (error.trailing_metadata() or ())}


def _read_detail(detail: Any, found: dict[str, Any]) -> None:
    info, bad, retry, resource = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.ResourceInfo(),
    )
    if detail.Unpack(info):
        found["reason"], found["metadata"] = info.reason, dict(info.metadata)
    elif detail.Unpack(bad):
        found["field_violations"] = [FieldViolation(v.field, v.description) for v in bad.field_violations]
    elif detail.Unpack(retry):
        found["retry_delay"] = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    elif detail.Unpack(resource):
        found["resource"] = resource.resource_name
