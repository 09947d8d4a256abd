"""Every field of a request at every value that somebody may send: made from the descriptors, so that a field which is
added later is tried too."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

F = FieldDescriptor
_INT32 = (-1, -(2**31), 2**31 - 1, 1 << 20, (1 << 20) + 1, 0)
_INT64 = (-1, -(2**63), 2**63 - 1, 1 << 40, 0)
_UINT64 = (0, 1, 2**64 - 1)
_FLOATS = (math.nan, math.inf, -math.inf, -1.0, -1e-30, 1e-45, 3e38, 100.5, 0.0)
_TEXTS = (
    "",
    "x",
    "-",
    "/",
    "..",
    "a" * 64,
    "a" * 70_000,
    "q " * 200_000,
    "collections/",
    "collections/default",
    "collections/-",
    "collections/default/documents/",
    "collections/default/documents/-",
    "collections/-/documents/-",
    "collections/default/documents/nobody-has-this",
    "collections/default/documents/golden/",
    "collections/default/documents/../golden",
    "collections/DEFAULT/documents/Golden",
    "collections/default/documents/" + "a" * 64,
    "collections/a.b/documents/c",
    "projects/p/locations/l",
    "\0",
    "a\0b",
    "golden\n",
    "%s%n%x",
    "\u202egnp.exe",
    "\U0001f600" * 100,
    "é",
    "<|im_end|>",
)
_BYTES = (b"", b"\0", b"\xff\xfe", b"a\0b", b"\xc3", b"x" * ((1 << 20) + 1), bytes(range(256)))


def _scalars(field: FieldDescriptor) -> tuple[Any, ...]:
    kinds = {
        F.TYPE_INT32: _INT32,
        F.TYPE_INT64: _INT64,
        F.TYPE_UINT64: _UINT64,
        F.TYPE_FLOAT: _FLOATS,
        F.TYPE_DOUBLE: _FLOATS,
        F.TYPE_STRING: _TEXTS,
        F.TYPE_BYTES: _BYTES,
        F.TYPE_BOOL: (True, False),
        F.TYPE_ENUM: (0, 1, 3, 99, -1),
    }
    return kinds[field.type]


def variations(message: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path of a field, its value in words, the message with it) for each bad value of each field."""
    for field in message.DESCRIPTOR.fields:
        where = f"{path}{field.name}"
        if field.type == F.TYPE_MESSAGE and not field.is_repeated:
            yield from _of_message(message, field, where)
            continue
        without = copy.deepcopy(message)
        without.ClearField(field.name)
        yield where, "absent", without
        if field.is_repeated:
            yield from _of_repeated(message, field, where)
            continue
        for value in _scalars(field):
            changed = copy.deepcopy(message)
            setattr(changed, field.name, value)
            yield where, _words(value), changed


def _of_message(message: Any, field: FieldDescriptor, where: str) -> Iterator[tuple[str, str, Any]]:
    without = copy.deepcopy(message)
    without.ClearField(field.name)
    yield where, "absent", without
    empty = copy.deepcopy(message)
    getattr(empty, field.name).Clear()
    getattr(empty, field.name).SetInParent()
    yield where, "empty", empty
    if field.message_type.full_name == "google.protobuf.Timestamp":
        values = [(s, n) for s in (-(2**63), -1, 0, 253402300800, 2**63 - 1) for n in (0, -1, 10**9, 2**31 - 1)]
        for seconds, nanos in values:
            changed = copy.deepcopy(message)
            inner = getattr(changed, field.name)
            inner.seconds, inner.nanos = seconds, nanos
            yield where, f"{seconds} s {nanos} ns", changed
        return
    for inner_path, words, inner in variations(getattr(message, field.name), f"{where}."):
        changed = copy.deepcopy(message)
        getattr(changed, field.name).CopyFrom(inner)
        yield inner_path, words, changed


def _of_repeated(message: Any, field: FieldDescriptor, where: str) -> Iterator[tuple[str, str, Any]]:
    if field.type == F.TYPE_MESSAGE:  # none in a request yet: whoever adds one extends this
        raise NotImplementedError(where)
    values = _scalars(field)
    for value in values:
        changed = copy.deepcopy(message)
        del getattr(changed, field.name)[:]
        getattr(changed, field.name).append(value)
        yield where, _words([value]), changed
    present = list(getattr(message, field.name)) or [values[1]]
    for count in (2, 17, 10_001):
        changed = copy.deepcopy(message)
        del getattr(changed, field.name)[:]
        getattr(changed, field.name).extend(present * count)
        yield where, f"{count} times {_words(present)}", changed


def must_be_refused(descriptor: Descriptor, path: str, words: str) -> bool:
    """Whether the contract leaves no doubt: negative numbers and numbers that are none have no meaning in a request."""
    field = None
    for part in path.split("."):
        field = descriptor.fields_by_name[part]
        descriptor = field.message_type
    if field.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE):
        return words in ("nan", "inf", "-inf", "-1.0")
    if field.type in (F.TYPE_INT32, F.TYPE_INT64):
        return words.startswith("-")
    return False


def _words(value: Any) -> str:
    text = repr(value) if not isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)})"
