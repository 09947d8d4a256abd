#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets for model files into tests/fuzz/corpus: small valid files of each kind.

Findings are kept beside them under other names, and stay.
"""

import json
import pathlib
import struct
import sys

import gguf
import numpy as np

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 4, 2, 1, 2, 3, 9


def tensors(architecture: str, bias: bool, norm: bool) -> dict[str, tuple[int, ...]]:
    """Shapes by GGUF's names of a model of one layer."""
    queries, keys = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    shapes = {
        "token_embd.weight": (VOCAB, HIDDEN),
        "blk.0.attn_norm.weight": (HIDDEN,),
        "blk.0.attn_q.weight": (queries, HIDDEN),
        "blk.0.attn_k.weight": (keys, HIDDEN),
        "blk.0.attn_v.weight": (keys, HIDDEN),
        "blk.0.attn_output.weight": (HIDDEN, queries),
        "blk.0.ffn_norm.weight": (HIDDEN,),
        "blk.0.ffn_gate.weight": (FFN, HIDDEN),
        "blk.0.ffn_up.weight": (FFN, HIDDEN),
        "blk.0.ffn_down.weight": (HIDDEN, FFN),
        "output_norm.weight": (HIDDEN,),
    }
    if bias:
        shapes |= {"blk.0.attn_q.bias": (queries,), "blk.0.attn_k.bias": (keys,), "blk.0.attn_v.bias": (keys,)}
    if norm:
        shapes |= {"blk.0.attn_q_norm.weight": (HEAD_DIM,), "blk.0.attn_k_norm.weight": (HEAD_DIM,)}
    if architecture == "gemma3":
        shapes |= {"blk.0.post_attention_norm.weight": (HIDDEN,), "blk.0.post_ffw_norm.weight": (HIDDEN,)}
    if architecture == "llama":
        shapes |= {"rope_freqs.weight": (HEAD_DIM // 2,), "output.weight": (VOCAB, HIDDEN)}
    return shapes


def add_tokenizer(writer: gguf.GGUFWriter, kind: str) -> None:
    writer.add_tokenizer_model(kind)
    if kind == "gpt2":
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(["a", "b", "Ġ", "ab", "<s>", "</s>"])
        writer.add_token_types([1, 1, 1, 1, 3, 3])
        writer.add_token_merges(["a b"])
    else:
        writer.add_token_list(["<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "a"])
        writer.add_token_types([2, 3, 3, 6, 1, 1])
        writer.add_token_scores([0.0, 0.0, 0.0, 0.0, -1.0, -2.0])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def write_gguf_model(architecture: str, bias: bool, norm: bool, tokenizer: str) -> None:
    writer = gguf.GGUFWriter(str(CORPUS / "gguf" / architecture), architecture)
    writer.add_block_count(1)
    writer.add_context_length(16)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    if architecture == "gemma3":
        writer.add_sliding_window(4)
        writer.add_sliding_window_pattern(2)
    add_tokenizer(writer, tokenizer)
    random = np.random.default_rng(1)
    for name, shape in tensors(architecture, bias, norm).items():
        writer.add_tensor(name, np.abs(random.normal(1, 0.1, shape)).astype(np.float32))
    finish(writer)


def write_gguf_types() -> None:
    """One block of every type, and values of every type."""
    writer = gguf.GGUFWriter(str(CORPUS / "gguf" / "types"), "none")
    writer.add_uint8("a", 1)
    writer.add_int16("b", -1)
    writer.add_uint64("c", 1 << 40)
    writer.add_float64("d", 0.5)
    writer.add_bool("e", True)
    writer.add_array("f", [1.5, 2.5])
    writer.add_array("g", [True, False])
    for kind in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"):
        kind = gguf.GGMLQuantizationType[kind]
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor(kind.name, np.arange(block_bytes, dtype=np.uint8).reshape(1, -1), raw_dtype=kind)
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors() -> None:
    folder = CORPUS / "safetensors"
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]},
        "c": {"dtype": "F16", "shape": [3], "data_offsets": [12, 18]},
        "d": {"dtype": "I64", "shape": [1, 1], "data_offsets": [18, 26]},
        "e": {"dtype": "U8", "shape": [0], "data_offsets": [26, 26]},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    (folder / "five").write_bytes(struct.pack("<Q", len(text)) + text + bytes(range(26)))
    (folder / "none").write_bytes(struct.pack("<Q", 2) + b"{}")


def write_hf_configs() -> None:
    base = {
        "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 24, "vocab_size": 99, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    }  # fmt: skip
    llama3 = {
        "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }  # fmt: skip
    for name, settings in {
        "Llama": {"rope_parameters": llama3, "attention_bias": False, "hidden_act": "silu"},
        "Mistral": {"sliding_window": None, "rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 2.0}},
        "Qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2, "rope_scaling": None},
        "Qwen3": {"layer_types": ["full_attention"] * 2, "tie_word_embeddings": True, "quantization_config": None},
        "Gemma3": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 4, "query_pre_attn_scalar": 8,
                   "rope_parameters": {"sliding_attention": {"rope_theta": 1e4}, "full_attention": {"rope_theta": 1e6}}},
    }.items():
        config = {"architectures": [name + "ForCausalLM"], **base, **settings}
        (CORPUS / "hf_config" / name.lower()).write_text(json.dumps(config))


def main() -> None:
    for name in ("gguf", "safetensors", "hf_config"):
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
    write_gguf_model("llama", bias=False, norm=False, tokenizer="gpt2")
    write_gguf_model("qwen2", bias=True, norm=False, tokenizer="gpt2")
    write_gguf_model("qwen3", bias=False, norm=True, tokenizer="llama")
    write_gguf_model("gemma3", bias=False, norm=True, tokenizer="llama")
    write_gguf_types()
    write_safetensors()
    write_hf_configs()


if __name__ == "__main__":
    sys.exit(main())
