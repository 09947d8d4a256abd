"""Calls a server knowing nothing of it but what its reflection says: no stubs, no protos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import built_client  # noqa: F401
import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

Metadata = Sequence[tuple[str, str]]


class Refusal(Exception):
    """A call that failed, with its details by kind."""

    def __init__(self, error: grpc.RpcError) -> None:
        self.code: grpc.StatusCode = error.code()
        self.message = error.details() or ""
        super().__init__(f"{self.code.name}: {self.message}")
        status = status_pb2.Status()
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                status.ParseFromString(value)
        self.status_code = status.code  # of the details; 0 if there are none
        self.info = error_details_pb2.ErrorInfo()
        self.bad_request = error_details_pb2.BadRequest()
        self.retry = error_details_pb2.RetryInfo()
        self.resource = error_details_pb2.ResourceInfo()
        self.kinds = []
        for detail in status.details:
            for known in (self.info, self.bad_request, self.retry, self.resource):
                if detail.Unpack(known):
                    self.kinds.append(known.DESCRIPTOR.name)

    @property
    def reason(self) -> str:
        return self.info.reason

    @property
    def retry_seconds(self) -> float | None:
        if "RetryInfo" not in self.kinds:
            return None
        return self.retry.retry_delay.seconds + self.retry.retry_delay.nanos / 1e9


class Reflected:
    """All services of one server."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_retries", 0)]
        self.channel = (
            grpc.secure_channel(address, credentials, options)
            if credentials
            else grpc.insecure_channel(address, options)
        )
        self._database = ProtoReflectionDescriptorDatabase(self.channel)
        self._pool = descriptor_pool.DescriptorPool(self._database)

    def close(self) -> None:
        self.channel.close()

    def services(self) -> list[str]:
        return sorted(self._database.get_services())

    def methods(self, package: str = "ilre.v1") -> dict[str, MethodDescriptor]:
        """`Encoder/GetDocument` -> its descriptor, of all services of a package."""
        found = {}
        for name in self.services():
            if name.startswith(f"{package}."):
                service = self._pool.FindServiceByName(name)
                found |= {f"{service.name}/{method.name}": method for method in service.methods}
        return found

    def request(self, method: MethodDescriptor, values: dict[str, Any]) -> Any:
        """A request message of plain values (as of JSON, original field names)."""
        return json_format.ParseDict(values, message_factory.GetMessageClass(method.input_type)())

    def call(
        self,
        method: MethodDescriptor | str,
        request: Any,
        timeout: float = 60,
        metadata: Metadata = (),
    ) -> list[Any]:
        """-> the answers: one, or those of a stream. request: a message, a dictionary, or for methods that take a
        stream an iterable of them; bytes are sent as they are. Raises Refusal."""
        if isinstance(method, str):
            method = self.methods()[method]
        path = f"/{method.containing_service.full_name}/{method.name}"
        answer_class = message_factory.GetMessageClass(method.output_type)

        def serialize(value: Any) -> bytes:
            if isinstance(value, bytes):
                return value
            return (self.request(method, value) if isinstance(value, dict) else value).SerializeToString()

        kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
        kind = kinds[method.client_streaming, method.server_streaming]
        stub = getattr(self.channel, kind)(
            path, request_serializer=serialize, response_deserializer=answer_class.FromString
        )
        sent = iter(request) if method.client_streaming and isinstance(request, Iterable) else request
        try:
            if not method.server_streaming:
                return [stub(sent, timeout=timeout, metadata=metadata)]
            return list(stub(sent, timeout=timeout, metadata=metadata))
        except grpc.RpcError as error:
            raise Refusal(error) from None


def plain(message: Any) -> dict[str, Any]:
    """Of JSON, original field names, without times and timings."""
    values = json_format.MessageToDict(message, preserving_proto_field_name=True)

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k != "timings" and not k.endswith("_time")}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return strip(values)
