#!/usr/bin/env python3
"""Reads a text file into an ILRe server, asks a question, and prints the answer as it comes.

Usage: ask_document.py FILE QUESTION [--server 127.0.0.1:50051] [--name handbook]
"""

import argparse
import pathlib
import re
import sys

import ilre


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("question")
    parser.add_argument("--server", default="127.0.0.1:50051")
    parser.add_argument("--name", help="of the document; default: the file's")
    parser.add_argument("--max-tokens", type=int, default=128)
    arguments = parser.parse_args()
    stem = re.sub(r"[^a-z0-9]+", "-", pathlib.Path(arguments.file).stem.lower()).strip("-")[:63].rstrip("-")
    name = arguments.name or stem or "document"

    def show_progress(progress: ilre.IngestProgress) -> None:
        print(f"\r{progress.committed_bytes:,} of {progress.total_bytes:,} bytes", end="", file=sys.stderr)

    try:
        with ilre.Client(arguments.server) as client:
            document = client.ingest(name, arguments.file, on_progress=show_progress)
            print(f"\r{document.name}: {document.token_count:,} tokens", file=sys.stderr)
            with client.ask(arguments.question, name, max_tokens=arguments.max_tokens) as answer:
                for text in answer.texts():
                    print(text, end="", flush=True)
                print()
                for span in answer.result().spans:
                    print(f"{'*' if span.in_prompt else ' '} [{span.score:.2f}] {' '.join(span.text.split())}")
    except ilre.IlreError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
