"""llama.cpp reading the same tokens with the same weights: python -m harness.llama cut|prefill MODEL TEXT NUMBER...

Runs in a process of its own, so that its memory and threads are gone when the engine is measured. Prints JSON.
"""

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

BATCH = 512  # llama.cpp's default


def is_installed() -> bool:
    return subprocess.run([sys.executable, "-c", "import llama_cpp"], capture_output=True, check=False).returncode == 0


def in_subprocess(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "harness.llama", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"llama.cpp: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def first_tokens(model: str, text_file: str, num_tokens: int) -> dict[str, Any]:
    """The beginning of the text that has num_tokens tokens."""
    from llama_cpp import Llama  # pylint: disable=import-outside-toplevel

    llama = Llama(model, vocab_only=True, verbose=False)
    ids = llama.tokenize(pathlib.Path(text_file).read_bytes(), add_bos=False, special=False)
    return {"text": llama.detokenize(ids[:num_tokens]).decode(errors="ignore")}


def prefill(model: str, text_file: str, repeats: int, threads: int) -> dict[str, Any]:
    """Reads the text from nothing, its tokens known and the weights warm.

    -> {tokens, seconds: a value a repeat, cpu_seconds: of all threads, state_bytes: that have to be kept}
    """
    from llama_cpp import Llama, llama_cpp  # pylint: disable=import-outside-toplevel

    text = pathlib.Path(text_file).read_bytes()
    ids = Llama(model, vocab_only=True, verbose=False).tokenize(text, add_bos=False, special=False)
    llama = Llama(
        model,
        n_ctx=len(ids) + 256,
        n_batch=BATCH,
        n_threads=threads,
        n_threads_batch=threads,
        logits_all=False,
        verbose=False,
    )
    llama.eval(ids[:64])  # weights come into memory
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        llama.reset()
        start, cpu_start = time.monotonic(), time.process_time()
        llama.eval(ids)
        seconds.append(time.monotonic() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    state_bytes = llama_cpp.llama_state_get_size(llama.ctx)
    return {"tokens": len(ids), "seconds": seconds, "cpu_seconds": cpu_seconds, "state_bytes": int(state_bytes)}


if __name__ == "__main__":
    action, *rest = sys.argv[1:]
    if action == "cut":
        print(json.dumps(first_tokens(rest[0], rest[1], int(rest[2]))))
    else:
        print(json.dumps(prefill(rest[0], rest[1], *map(int, rest[2:]))))
