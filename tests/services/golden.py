"""A question whose answer must be the same, bit for bit, after anything that happens to a server."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import built_client  # noqa: F401
import ilre
from servers import made_up_text

NAME = "golden"
TEXT = made_up_text(20_000, seed=7)
QUESTION = "Which harbour has the better lamp?"
MAX_TOKENS = 12


def plain(value: Any) -> Any:
    """Of the client's values, without timings."""
    values = dataclasses.asdict(value)
    values.pop("timings")
    return json.loads(json.dumps(values, default=str))


class Golden:
    """Ingests the document and remembers the answers."""

    def __init__(self, client: ilre.Client) -> None:
        client.ingest(NAME, TEXT.encode())
        self.recalled = self._recall(client)
        self.answer = self._answer(client)
        assert self.recalled["spans"] and self.answer["text"], (self.recalled, self.answer)

    def _recall(self, client: ilre.Client) -> Any:
        return plain(client.retrieve(QUESTION, NAME))

    def _answer(self, client: ilre.Client) -> Any:
        return plain(client.ask(QUESTION, NAME, max_tokens=MAX_TOKENS).result())

    def check(self, client: ilre.Client, with_answer: bool = True) -> None:
        recalled = self._recall(client)
        assert recalled == self.recalled, f"other spans than before:\n{recalled}\n{self.recalled}"
        if with_answer:
            answer = self._answer(client)
            assert answer == self.answer, f"another answer than before:\n{answer}\n{self.answer}"
