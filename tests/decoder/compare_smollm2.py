#!/usr/bin/env python3
"""Compares the decoder with transformers on the real SmolLM2-135M-Instruct, over real text.

The GGUF file is dequantised with the `gguf` package into a LlamaForCausalLM in float32, so both engines start from the
same numbers. Device "cpu" rounds them to bfloat16; "torch-cpu" does not, so that it must agree all but exactly.
"cpu-quantized" multiplies the file's own codes with activations rounded to int8, as llama.cpp does, and may lose no
more by that.
Exit status 77 (skipped) where the model or a package is not there.

Usage: compare_smollm2.py LOGITS_OF_IDS [--model GGUF] [--devices cpu torch-cpu]
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77  # as ctest is told
PIECES, PIECE_TOKENS = 4, 500
# By device: the share of positions at which the best token must be the same, the greatest mean divergence in nats, and
# how many of the pieces are run. llama.cpp, which rounds activations to int8 as well, was measured to have a divergence of
# 3.68e-3 and the same best token at 0.9610 of these positions; the standard error of the latter is 0.004.
DEVICES = {"cpu": (0.99, 1e-4, PIECES), "cpu-quantized": (0.955, 3.8e-3, PIECES), "torch-cpu": (0.999, 1e-6, 1)}
# English prose and terms that every Debian system has; the first that are there are taken.
TEXTS = ["GPL-3", "MPL-2.0", "Apache-2.0", "GFDL-1.3", "Artistic", "LGPL-2.1", "CC0-1.0", "BSD"]

try:
    import gguf
    import numpy as np
    import tokenizers
    import torch
    import transformers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def find_model(given: str | None) -> pathlib.Path:
    named = given or os.environ.get("ILRE_TEST_MODEL")
    found = [pathlib.Path(named)] if named else sorted(ROOT.glob("models/SmolLM2-135M*.gguf"))
    if not found or not found[0].is_file():
        print("skipped: there is no models/SmolLM2-135M*.gguf and no ILRE_TEST_MODEL; scripts/setup fetches it")
        sys.exit(SKIPPED)
    return found[0]


def metadata(reader: gguf.GGUFReader, key: str):
    return reader.fields[key].contents()


def hf_name(name: str) -> str:
    whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in whole:
        return whole[name]
    _, layer, part, suffix = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{suffix}"


def to_halves(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Rows of each head from rotary pairs (2 i, 2 i + 1), as llama.cpp keeps them, to (i, i + head_dim / 2)."""
    pairs = weight.reshape(num_heads, -1, 2, weight.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(weight.shape)


def load_reference(reader: gguf.GGUFReader) -> transformers.LlamaForCausalLM:
    heads, kv_heads = (metadata(reader, f"llama.attention.head_count{kv}") for kv in ("", "_kv"))
    state = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if "attn_q" in tensor.name or "attn_k" in tensor.name:
            weight = to_halves(weight, heads if "attn_q" in tensor.name else kv_heads)
        state[hf_name(tensor.name)] = torch.from_numpy(np.array(weight, dtype=np.float32))
    config = transformers.LlamaConfig(
        vocab_size=len(state["model.embed_tokens.weight"]),
        hidden_size=metadata(reader, "llama.embedding_length"),
        intermediate_size=metadata(reader, "llama.feed_forward_length"),
        num_hidden_layers=metadata(reader, "llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=metadata(reader, "llama.context_length"),
        rms_norm_eps=metadata(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": metadata(reader, "llama.rope.freq_base")},
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    # Not a weight, so that it has to be computed again after to_empty.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.float().eval()


def tokenizer_of(reader: gguf.GGUFReader) -> tokenizers.Tokenizer:
    """SmolLM2's byte-level BPE: each digit alone, then as GPT-2."""
    tokens, merges = metadata(reader, "tokenizer.ggml.tokens"), metadata(reader, "tokenizer.ggml.merges")
    model = tokenizers.models.BPE(
        {token: i for i, token in enumerate(tokens)}, [tuple(merge.split(" ")) for merge in merges]
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Digits(individual_digits=True), tokenizers.pre_tokenizers.ByteLevel(False)]
    )
    return tokenizer


def make_sequences(reader: gguf.GGUFReader) -> list[list[int]]:
    """The middle of several texts, where there is prose."""
    tokenizer = tokenizer_of(reader)
    paths = [path for name in TEXTS if (path := pathlib.Path("/usr/share/common-licenses") / name).is_file()]
    sequences = []
    for path in paths:
        ids = tokenizer.encode(path.read_text(encoding="utf-8", errors="replace")).ids
        begin = (len(ids) - PIECE_TOKENS) // 2
        if begin >= 0 and len(sequences) < PIECES:
            sequences.append(ids[begin : begin + PIECE_TOKENS])
    if len(sequences) < PIECES:
        print(f"skipped: there are not {PIECES} long texts in /usr/share/common-licenses")
        sys.exit(SKIPPED)
    return sequences


def run_ours(program: str, model: pathlib.Path, device: str, sequences: list[list[int]], vocab: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        ids, logits = pathlib.Path(folder) / "ids", pathlib.Path(folder) / "logits"
        ids.write_text("".join(" ".join(map(str, line)) + "\n" for line in sequences))
        subprocess.run([program, str(model), device, str(ids), str(logits)], check=True)
        return np.fromfile(logits, dtype=np.float32).reshape(-1, vocab)


def report(ours: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    """The share of positions with the same best token, and the mean divergence."""
    agreement = (ours.argmax(-1) == reference.argmax(-1)).float().mean().item()
    difference = (ours - reference).abs()
    divergence = torch.nn.functional.kl_div(ours.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="none")
    print(f"positions {len(ours)}, top-1 agreement {agreement:.4f}")
    print(f"absolute difference of logits: mean {difference.mean():.5f}, greatest {difference.max():.4f}", end="")
    print(f" (logits have a standard deviation of {reference.std():.2f})")
    mean_divergence = divergence.sum(-1).mean().item()
    print(f"mean divergence (Kullback-Leibler) {mean_divergence:.2e} nats")
    return agreement, mean_divergence


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--model")
    parser.add_argument("--devices", nargs="+", choices=DEVICES, default=["cpu"])
    arguments = parser.parse_args()
    path = find_model(arguments.model)
    reader = gguf.GGUFReader(path)
    sequences = make_sequences(reader)
    reference = load_reference(reader)
    start = time.monotonic()
    with torch.inference_mode():
        expected = torch.cat([reference(torch.tensor([line])).logits[0] for line in sequences])
    print(f"transformers: {len(expected)} tokens in {time.monotonic() - start:.2f} s", flush=True)
    for device in arguments.devices:
        least, most, pieces = DEVICES[device]
        ours = torch.from_numpy(run_ours(arguments.program, path, device, sequences[:pieces], expected.shape[1]))
        if len(ours) != pieces * PIECE_TOKENS:
            print(f"failed: logits of {len(ours)} positions")
            return 1
        agreement, divergence = report(ours, expected[: len(ours)])
        if agreement < least or divergence > most:
            print(f"failed: the best token should agree at {least:.1%} of positions, with a divergence up to {most}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
