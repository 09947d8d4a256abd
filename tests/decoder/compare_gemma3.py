#!/usr/bin/env python3
"""Compares the decoder with transformers on the real Gemma 3 270M, over real text that is longer than its local layers
see.

As compare_smollm2.py: the GGUF file is dequantised into a Gemma3ForCausalLM in float32. The file is of K-quants, so that
device "cpu" computes most layers in bfloat16 whatever the arithmetic.
Exit status 77 (skipped) where the model (scripts/fetch-gemma) or a package is not there.

Usage: compare_gemma3.py LOGITS_OF_IDS [--model GGUF] [--devices cpu torch-cpu]
"""

import argparse
import os
import pathlib
import sys

import compare_smollm2 as common  # skips where packages are missing
import gguf
import numpy as np
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tokenizer"))
import compare as tokenizer_comparison  # noqa: E402

PIECES, PIECE_TOKENS = 2, 700
# As in compare_smollm2.py: the least share of equal best tokens, the greatest mean divergence, how many pieces are run.
DEVICES = {"cpu": (0.98, 1e-3, PIECES), "torch-cpu": (0.998, 1e-5, 1)}
PATTERN = 6  # each sixth layer sees everything
LAYER_NAMES = {
    **common.LAYER_NAMES, "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}  # fmt: skip


def find_model(given: str | None) -> pathlib.Path:
    named = given or os.environ.get("ILRE_TEST_GEMMA")
    found = [pathlib.Path(named)] if named else sorted(common.ROOT.glob("models/gemma-3-270m*.gguf"))
    if not found or not found[0].is_file():
        print("skipped: there is no models/gemma-3-270m*.gguf and no ILRE_TEST_GEMMA; scripts/fetch-gemma fetches it")
        sys.exit(common.SKIPPED)
    return found[0]


def hf_name(name: str) -> str:
    whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in whole:
        return whole[name]
    _, layer, part, suffix = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{suffix}"


def load_reference(reader: gguf.GGUFReader) -> transformers.Gemma3ForCausalLM:
    state = {}
    for tensor in reader.tensors:
        weight = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        state[hf_name(tensor.name)] = torch.from_numpy(weight - 1 if "norm" in tensor.name else weight)
    value = lambda key: common.metadata(reader, f"gemma3.{key}")  # noqa: E731
    config = transformers.Gemma3TextConfig(
        vocab_size=len(state["model.embed_tokens.weight"]),
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=value("attention.head_count"),
        num_key_value_heads=value("attention.head_count_kv"),
        head_dim=value("attention.key_length"),
        query_pre_attn_scalar=value("attention.key_length"),
        max_position_embeddings=value("context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        sliding_window=value("attention.sliding_window"),
        layer_types=[
            "full_attention" if layer % PATTERN == 0 else "sliding_attention" for layer in range(1, value("block_count") + 1)
        ],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": value("rope.freq_base")},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    model = transformers.Gemma3ForCausalLM(config).float()
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    return model.eval()


def make_sequences(path: pathlib.Path) -> list[list[int]]:
    """The begin token and the middle of a text."""
    tokenizer = tokenizer_comparison.Vocabulary(path).sentence_piece()
    sequences = []
    for name in common.TEXTS:
        text = pathlib.Path("/usr/share/common-licenses") / name
        ids = tokenizer.encode(text.read_text(encoding="utf-8", errors="replace")) if text.is_file() else []
        begin = (len(ids) - PIECE_TOKENS + 1) // 2
        if begin >= 0 and len(sequences) < PIECES:
            sequences.append([2, *ids[begin : begin + PIECE_TOKENS - 1]])
    if len(sequences) < PIECES:
        print(f"skipped: there are not {PIECES} long texts in /usr/share/common-licenses")
        sys.exit(common.SKIPPED)
    return sequences


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--model")
    parser.add_argument("--devices", nargs="+", choices=DEVICES, default=["cpu"])
    arguments = parser.parse_args()
    path = find_model(arguments.model)
    sequences = make_sequences(path)
    reference = load_reference(gguf.GGUFReader(path))
    good = True
    for piece, line in enumerate(sequences):  # one by one: logits of a vocabulary of 262,144 are large
        with torch.inference_mode():
            expected = reference(torch.tensor([line])).logits[0]
        for device in arguments.devices:
            least, most, pieces = DEVICES[device]
            if piece >= pieces:
                continue
            ours = torch.from_numpy(common.run_ours(arguments.program, path, device, [line], expected.shape[1]))
            # All of it, and what lies beyond the local layers' window alone.
            for first in (0, 512):
                print(f"from token {first}: ", end="")
                agreement, divergence = common.report(ours[first:], expected[first:])
                if agreement < least or divergence > most:
                    print(f"failed: the best token should agree at {least:.1%} of positions, with a divergence up to {most}")
                    good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
