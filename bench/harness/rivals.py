"""Ways to choose segments that need no retrieval profile: the document's ends, words, and a sentence-embedding model
(plain RAG), alone and fused with words."""

import functools
import pathlib
from typing import Sequence

from harness import sentence_vectors, squad

Scores = list[list[float]]  # [questions][segments]
NAMES = ("bm25", "minilm", "minilm_neighbours", "minilm_and_bm25")


def missing_package() -> str | None:
    """What has to be installed first."""
    try:
        import rank_bm25  # pylint: disable=import-outside-toplevel,unused-import
    except ImportError:
        return "no rank_bm25: .venv/bin/pip install rank-bm25"
    return None


# One for all sections: they ask about much the same text, and reading it is what takes long.
@functools.cache
def _sentence_vectors(folder: str) -> sentence_vectors.SentenceVectors:
    return sentence_vectors.SentenceVectors(pathlib.Path(folder))


def score(
    questions: Sequence[str],
    segments: Sequence[squad.Segment],
    minilm_folder: str | None,
    names: Sequence[str] = NAMES,
) -> dict[str, Scores]:
    """By name, for segments in the document's order. Without a folder of all-MiniLM-L6-v2 those that need it are left out."""
    from rank_bm25 import BM25Okapi  # pylint: disable=import-outside-toplevel

    texts = [segment.text for segment in segments]
    bm25 = BM25Okapi([squad.words(text) for text in texts])
    by_words = [bm25.get_scores(squad.words(question)).tolist() for question in questions]
    scores = {"bm25": by_words}
    if minilm_folder is not None and set(names) != {"bm25"}:
        vectors = _sentence_vectors(minilm_folder)
        asked = vectors.encode(questions)
        scores["minilm"] = (asked @ vectors.encode(texts).T).tolist()
        if "minilm_neighbours" in names:
            near = vectors.encode(sentence_vectors.with_neighbours(texts))
            scores["minilm_neighbours"] = (asked @ near.T).tolist()
        scores["minilm_and_bm25"] = [
            [cosine + words / max(1e-6, max(row_words)) for cosine, words in zip(row, row_words)]
            for row, row_words in zip(scores["minilm"], by_words)
        ]
    return {name: scores[name] for name in names if name in scores}


def window(questions: Sequence[str], segments: Sequence[squad.Segment]) -> Scores:
    """The document's first segment and its last ones: what truncation keeps."""
    row = [float(len(segments)), *map(float, range(len(segments) - 1))]
    return [row for _ in questions]
