"""Requests of both clients, from plain arguments."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from ._names import collection_name, document_name, document_names
from .types import Sampling
from .v1 import encoder_pb2, generator_pb2, retriever_pb2


def create(name: str, expire_time: datetime.datetime | None) -> encoder_pb2.CreateDocumentRequest:
    parent, _, document_id = document_name(name).rpartition("/documents/")
    request = encoder_pb2.CreateDocumentRequest(parent=parent, document_id=document_id)
    _set_expiry(request, expire_time)
    return request


def list_page(collection: str, page_size: int, page_token: str) -> encoder_pb2.ListDocumentsRequest:
    return encoder_pb2.ListDocumentsRequest(
        parent=collection_name(collection), page_size=page_size, page_token=page_token
    )


def update(name: str, expire_time: datetime.datetime | None, etag: str) -> encoder_pb2.UpdateDocumentRequest:
    request = encoder_pb2.UpdateDocumentRequest()
    request.document.name = document_name(name)
    request.document.etag = etag
    request.update_mask.paths.append("expire_time")
    _set_expiry(request, expire_time)
    return request


def _set_expiry(
    request: encoder_pb2.CreateDocumentRequest | encoder_pb2.UpdateDocumentRequest,
    expire_time: datetime.datetime | None,
) -> None:
    if expire_time is None:
        return
    if expire_time.tzinfo is None:
        raise ValueError("expire_time needs a time zone")
    request.document.expire_time.FromDatetime(expire_time)


def retrieve(
    question: str, documents: str | Iterable[str], budget: int, include_token_ids: bool, single_look: bool
) -> retriever_pb2.RetrieveRequest:
    return retriever_pb2.RetrieveRequest(
        names=document_names(documents),
        question=question,
        budget=budget,
        include_token_ids=include_token_ids,
        single_look=single_look,
    )


def generate(
    question: str,
    documents: str | Iterable[str],
    budget: int,
    instruction: str | None,
    answer_prefix: str,
    max_tokens: int,
    stop: Sequence[str],
    sampling: Sampling | None,
    single_look: bool,
) -> generator_pb2.GenerateRequest:
    request = generator_pb2.GenerateRequest(
        names=document_names(documents),
        question=question,
        budget=budget,
        answer_prefix=answer_prefix,
        max_tokens=max_tokens,
        stop=[stop] if isinstance(stop, str) else stop,
        single_look=single_look,
    )
    if instruction is not None:
        request.instruction = instruction
    if sampling is not None:
        request.sampling.temperature = sampling.temperature
        request.sampling.top_p = sampling.top_p
        request.sampling.top_k = sampling.top_k
        request.sampling.seed = sampling.seed
        request.sampling.repetition_penalty = sampling.repetition_penalty
    return request
