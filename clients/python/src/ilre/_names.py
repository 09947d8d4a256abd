"""Names of documents: `d` in the collection `default`, `c/d`, or the whole resource name."""

from __future__ import annotations

from collections.abc import Iterable

DEFAULT_COLLECTION = "default"


def document_name(name: str) -> str:
    """The resource name. A part may be `-` where the server takes it; the server refuses what is no name."""
    if name.startswith("collections/"):
        return name
    collection, slash, document = name.partition("/")
    if not slash:
        collection, document = DEFAULT_COLLECTION, name
    return f"collections/{collection}/documents/{document}"


def collection_name(collection: str) -> str:
    """`-` stands for all."""
    return collection if collection.startswith("collections/") else f"collections/{collection}"


def document_names(names: str | Iterable[str]) -> list[str]:
    return [document_name(name) for name in ([names] if isinstance(names, str) else names)]
