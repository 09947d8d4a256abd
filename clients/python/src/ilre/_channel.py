"""Channels to the three services, and what goes along with every call."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from .errors import REQUEST_ID

Metadata = list[tuple[str, str]]
MAX_ANSWER_BYTES = 256 << 20  # spans of a million recalled tokens come with their text


@dataclasses.dataclass(frozen=True)
class Tls:
    """How to speak TLS. Files are PEM. With `certificate` and `key` the client shows who it is (mutual TLS)."""

    ca: str | os.PathLike[str] | None = None  # None: the authorities that the system trusts
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None  # in the server's certificate, where it is not the address's

    def credentials(self) -> grpc.ChannelCredentials:
        def read(path: str | os.PathLike[str] | None) -> bytes | None:
            return None if path is None else pathlib.Path(path).read_bytes()

        return grpc.ssl_channel_credentials(read(self.ca), read(self.key), read(self.certificate))


def channel_options(tls: Tls | None) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
        # Finds out that a server is gone although nothing was closed, also where a call has no deadline.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # A name with several addresses (a headless Kubernetes service) is used with all of them.
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ]
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


class Headers:
    """token: without `Bearer`; a function is asked before each call. extra: for example a traceparent."""

    def __init__(self, token: str | Callable[[], str] | None, extra: Sequence[tuple[str, str]]) -> None:
        self._token = token
        self._extra = list(extra)

    def of_call(self, request_id: str | None) -> tuple[Metadata, str]:
        """-> (metadata, the request's id)"""
        request_id = request_id or uuid.uuid4().hex
        metadata = [*self._extra, (REQUEST_ID, request_id)]
        token = self._token() if callable(self._token) else self._token
        if token:
            metadata.append(("authorization", f"Bearer {token}"))
        return metadata, request_id
