"""transformers on the processor, the whole text attended to or pressed by SnapKV: a child process, see main().

Weights are the GGUF file's, dequantised to bfloat16. SnapKV (Li et al., 2024) is KVPress's: it keeps as many keys and
values of each layer and head as there are tokens to recall, chosen by what the text's last 64 tokens attend to.
"""

import contextlib
import json
import pathlib
import time
from typing import Any, Sequence

from harness import child
from harness.ilre import own_peak_bytes
from harness.report import repeated


class Reader:
    """A model and a cache of what it has read. keep: entries of the cache that SnapKV leaves; None: all."""

    def __init__(self, model: str, threads: int, keep: int | None) -> None:
        import torch  # pylint: disable=import-outside-toplevel
        from transformers import AutoModelForCausalLM, DynamicCache  # pylint: disable=import-outside-toplevel

        path = pathlib.Path(model)
        self._torch = torch
        self._new_cache = DynamicCache
        self._keep = keep
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.bfloat16)
        self._cache: Any = DynamicCache()
        self._position = 0  # of the next token; the cache may hold fewer

    def _press(self, num_tokens: int) -> Any:
        if self._keep is None:
            return contextlib.nullcontext()
        from kvpress import SnapKVPress  # pylint: disable=import-outside-toplevel

        return SnapKVPress(compression_ratio=max(0.0, 1 - self._keep / num_tokens))(self._model)

    def _forward(self, ids: Sequence[int]) -> Any:
        """-> logits of the last token"""
        torch = self._torch
        positions = torch.arange(self._position, self._position + len(ids)).unsqueeze(0)
        output = self._model(
            torch.tensor([ids]), past_key_values=self._cache, position_ids=positions, use_cache=True, logits_to_keep=1
        )
        self._position += len(ids)
        return output.logits[0, -1]

    def read(self, ids: Sequence[int]) -> float:
        """The text, from nothing. -> seconds"""
        start = time.monotonic()
        self._cache, self._position = self._new_cache(), 0
        with self._press(len(ids)):
            self._forward(ids)
        return time.monotonic() - start

    def answer(self, question: Sequence[int], num_tokens: int) -> tuple[float, float, list[int]]:
        """Reads a question and goes on greedily; what was read before is as it was afterwards.

        -> (seconds to the first token, tokens per second after it, tokens)
        """
        length, position = self._cache.get_seq_length(), self._position
        start = time.monotonic()
        tokens = [int(self._forward(question).argmax())]
        first_s = time.monotonic() - start
        start = time.monotonic()
        for _ in range(num_tokens):
            tokens.append(int(self._forward(tokens[-1:]).argmax()))
        rate = num_tokens / (time.monotonic() - start)
        self._cache.crop(length)
        self._position = position
        return first_s, rate, tokens

    def cache_bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._cache.layers)


def measure(
    model: str,
    ids: Sequence[int],
    questions: Sequence[Sequence[int]],
    keep: int | None,
    runs: int,
    patience: float,
    decode_tokens: int,
    threads: int,
) -> dict[str, Any]:
    """Times and rates: a value a run. stored_bytes: of keys and values in memory, that would have to be kept."""
    reader = Reader(model, threads, keep)
    reader.read(ids[:128])  # weights come into memory
    result: dict[str, Any] = {"read_s": repeated(lambda _: reader.read(ids), runs, patience)}
    result["stored_bytes"] = [reader.cache_bytes()]
    answers = repeated(lambda run: reader.answer(questions[run % len(questions)], decode_tokens), runs, patience)
    result["first_token_s"] = [first_s for first_s, _, _ in answers]
    result["tokens_per_s"] = [rate for _, rate, _ in answers]
    return {**result, "tokens": len(ids), "answer_ids": answers[-1][2], "peak_bytes": [own_peak_bytes()]}


if __name__ == "__main__":
    print(json.dumps(measure(**child.request())))
