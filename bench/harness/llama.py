"""llama.cpp reading the same tokens with the same weights: a child process, see main()."""

import ctypes
import json
import pathlib
import time
from typing import Any, Sequence

from harness import child
from harness.ilre import own_peak_bytes
from harness.report import repeated

BATCH = 512  # llama.cpp's default
SPARE = 512  # tokens of context for questions and answers


def is_installed() -> bool:
    return child.can_import("llama_cpp")


def tokenize(model: str, texts: Sequence[str], num_tokens: int | None = None) -> list[dict[str, Any]]:
    """-> {ids, text} of each, cut to its first num_tokens tokens. The chat template's marks are special tokens."""
    return child.run("harness.llama", {"action": "tokenize", "model": model, "texts": texts, "tokens": num_tokens})[
        "cut"
    ]


def _tokenize(model: str, texts: Sequence[str], tokens: int | None) -> dict[str, Any]:
    from llama_cpp import Llama  # pylint: disable=import-outside-toplevel

    llama = Llama(model, vocab_only=True, verbose=False)
    cut = []
    for text in texts:
        ids = llama.tokenize(text.encode(), add_bos=False, special=True)[:tokens]
        cut.append({"ids": ids, "text": llama.detokenize(ids, special=True).decode(errors="ignore")})
    return {"cut": cut}


class Reader:
    """A context with room for `num_tokens` and some more."""

    def __init__(self, model: str, num_tokens: int, threads: int, flash: bool) -> None:
        from llama_cpp import Llama, llama_cpp  # pylint: disable=import-outside-toplevel

        self._api = llama_cpp
        self._llama = Llama(
            model,
            n_ctx=num_tokens + SPARE,
            n_batch=BATCH,
            n_threads=threads,
            n_threads_batch=threads,
            flash_attn=flash,
            logits_all=False,
            verbose=False,
        )

    def read(self, ids: Sequence[int], after: int = 0) -> float:
        """Reads tokens that stand behind the first `after`, which are there. -> seconds"""
        start = time.monotonic()
        self._llama.n_tokens = after
        self._llama.eval(ids)
        return time.monotonic() - start

    def best(self) -> int:
        import numpy as np  # pylint: disable=import-outside-toplevel

        logits = self._api.llama_get_logits_ith(self._llama.ctx, -1)
        return int(np.argmax(np.ctypeslib.as_array(logits, shape=(self._llama.n_vocab(),))))

    def first_token(self, ids: Sequence[int], after: int = 0) -> float:
        """Reads a question's tokens. -> seconds until the first token of an answer is known"""
        start = time.monotonic()
        self.read(ids, after)
        self.best()
        return time.monotonic() - start

    def decode(self, num_tokens: int) -> tuple[float, str]:
        """Goes on greedily from where it is. -> (tokens per second, text)"""
        ids = []
        start = time.monotonic()
        for _ in range(num_tokens):
            ids.append(self.best())
            self._llama.eval(ids[-1:])
        seconds = time.monotonic() - start
        return num_tokens / seconds, self._llama.detokenize(ids).decode(errors="replace")

    def save(self, path: str, ids: Sequence[int]) -> int:
        """-> bytes of the file"""
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        if not self._api.llama_state_save_file(self._llama.ctx, path.encode(), tokens, len(ids)):
            raise RuntimeError(f"cannot save the state to {path}")
        return pathlib.Path(path).stat().st_size

    def restore(self, path: str, num_tokens: int) -> float:
        """-> seconds"""
        tokens, count = (ctypes.c_int32 * num_tokens)(), ctypes.c_size_t()
        start = time.monotonic()
        done = self._api.llama_state_load_file(self._llama.ctx, path.encode(), tokens, num_tokens, ctypes.byref(count))
        if not done or count.value != num_tokens:
            raise RuntimeError(f"cannot restore the state from {path}")
        return time.monotonic() - start

    def state_bytes(self) -> int:
        return int(self._api.llama_state_get_size(self._llama.ctx))


def _prefill(model: str, ids: Sequence[int], repeats: int, threads: int) -> dict[str, Any]:
    """Reads the text from nothing, its tokens known and the weights warm.

    -> {tokens, seconds: a value a repeat, cpu_seconds: of all threads, state_bytes: that have to be kept}
    """
    reader = Reader(model, len(ids), threads, flash=False)
    reader.read(ids[:64])  # weights come into memory

    def once() -> tuple[float, float]:
        cpu_start = time.process_time()
        return reader.read(ids), time.process_time() - cpu_start

    seconds, cpu_seconds = zip(*(once() for _ in range(repeats)))
    return {"tokens": len(ids), "seconds": seconds, "cpu_seconds": cpu_seconds, "state_bytes": reader.state_bytes()}


def _measure(
    model: str,
    ids: Sequence[int],
    questions: Sequence[Sequence[int]],
    short_prompt: Sequence[int],
    state_file: str,
    runs: int,
    patience: float,
    decode_tokens: int,
    threads: int,
    flash: bool,
) -> dict[str, Any]:
    """Everything that is measured of a process whose weights are warm. Times and rates: a value a run."""
    reader = Reader(model, len(ids), threads, flash)
    reader.read(ids[:64])  # weights come into memory
    result: dict[str, Any] = {"read_s": repeated(lambda _: reader.read(ids), runs, patience)}
    result["stored_bytes"] = [reader.save(state_file, ids)]
    result["restore_s"], result["first_token_s"], result["resident_first_token_s"] = [], [], []
    result["tokens_per_s"], result["short_first_token_s"], result["short_tokens_per_s"] = [], [], []
    for run in range(runs):
        question = questions[run % len(questions)]
        restore = reader.restore(state_file, len(ids))
        result["restore_s"].append(restore)
        result["first_token_s"].append(restore + reader.first_token(question, len(ids)))
        result["resident_first_token_s"].append(reader.first_token(question, len(ids)))
        rate, result["answer"] = reader.decode(decode_tokens)
        result["tokens_per_s"].append(rate)
    for _ in range(runs):
        result["short_first_token_s"].append(reader.first_token(short_prompt))
        rate, result["short_answer"] = reader.decode(decode_tokens)
        result["short_tokens_per_s"].append(rate)
    return {**result, "tokens": len(ids), "short_tokens": len(short_prompt), "peak_bytes": [own_peak_bytes()]}


def _restart(
    model: str, num_tokens: int, question: Sequence[int], state_file: str, threads: int, flash: bool
) -> dict[str, Any]:
    """A process that starts: model and state from disk, then a question. Python's own start is not counted."""
    import llama_cpp  # noqa: F401 pylint: disable=import-outside-toplevel,unused-import
    import numpy  # noqa: F401 pylint: disable=import-outside-toplevel,unused-import

    start = time.monotonic()
    reader = Reader(model, num_tokens, threads, flash)
    reader.restore(state_file, num_tokens)
    reader.first_token(question, num_tokens)
    return {"seconds": time.monotonic() - start}


def main() -> None:
    request = child.request()
    actions = {"tokenize": _tokenize, "prefill": _prefill, "measure": _measure, "restart": _restart}
    print(json.dumps(actions[request.pop("action")](**request)))


if __name__ == "__main__":
    main()
