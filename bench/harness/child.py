"""Programs of this package run as processes of their own, so that their memory and threads are gone when others are
measured: a request as JSON on standard input, the answer as the last line of standard output."""

import json
import os
import subprocess
import sys
from typing import Any


class ChildError(RuntimeError):
    """The process failed; the message ends with what it said."""


def run(module: str, request: dict[str, Any], python: str = sys.executable) -> dict[str, Any]:
    """`python -m MODULE` of this package, with the interpreter of another environment if need be."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [python, "-m", module], input=json.dumps(request).encode(), capture_output=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise ChildError(f"{module}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def can_import(name: str, python: str = sys.executable) -> bool:
    return subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def request() -> dict[str, Any]:
    """In the child: what it is asked for."""
    return json.load(sys.stdin)
