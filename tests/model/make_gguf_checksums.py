#!/usr/bin/env python3
"""Writes checksums of a GGUF file's tensors as the `gguf` package dequantises them, under Hugging Face's names and in
Hugging Face's layout: what a Checkpoint over the file should give.

Usage: make_gguf_checksums.py MODEL.gguf > tests/model/data/smollm2_135m_checksums.txt
"""

import sys

import gguf

from checksum import checksum
from make_tiny_models import GGUF_LAYER_NAMES

LAYER_NAMES = {short: long for long, short in GGUF_LAYER_NAMES.items()}
WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def main() -> None:
    reader = gguf.GGUFReader(sys.argv[1])
    assert reader.fields["general.architecture"].contents() == "llama"
    heads = {
        "attn_q": reader.fields["llama.attention.head_count"].contents(),
        "attn_k": reader.fields["llama.attention.head_count_kv"].contents(),
    }
    lines = []
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape([int(n) for n in tensor.shape[::-1]])
        name = WHOLE.get(tensor.name)
        if name is None:
            _, layer, stem, suffix = tensor.name.split(".")
            name = f"model.layers.{layer}.{LAYER_NAMES[stem]}.{suffix}"
            if stem in heads:  # pairs back to halves
                pairs = values.reshape(heads[stem], -1, 2, *values.shape[1:])
                values = pairs.swapaxes(1, 2).reshape(values.shape)
        lines.append(f"{name} {','.join(map(str, values.shape))} {checksum(values)}")
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main()
