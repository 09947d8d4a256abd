"""llama.cpp reading the same tokens with the same weights: `python -m harness.llama MODEL TEXT TOKENS REPEATS`.

Runs in a process of its own, so that its memory and threads are gone when the engine is measured. Prints one JSON object.
"""

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

from harness import report

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


def prefill(model: str, text_file: str, repeats: int) -> dict[str, Any]:
    """Seconds to read the text from nothing, its tokens known and the weights warm; and the bytes of the state."""
    from llama_cpp import Llama, llama_cpp  # pylint: disable=import-outside-toplevel

    text = pathlib.Path(text_file).read_bytes()
    threads = report.cores()
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
    seconds = []
    for _ in range(repeats):
        llama.reset()
        start = time.monotonic()
        llama.eval(ids)
        seconds.append(time.monotonic() - start)
    state_bytes = llama_cpp.llama_state_get_size(llama.ctx)
    return {"tokens": len(ids), "seconds": seconds, "state_bytes": int(state_bytes), "threads": threads}


if __name__ == "__main__":
    action, *rest = sys.argv[1:]
    if action == "cut":
        print(json.dumps(first_tokens(rest[0], rest[1], int(rest[2]))))
    else:
        print(json.dumps(prefill(rest[0], rest[1], int(rest[2]))))
