#!/usr/bin/env python3
"""Writes tests/model/data/tiny-*: models of a few thousand random weights, saved by transformers as folders, and two of
them as GGUF files in the layout of llama.cpp's converter.

Each folder also gets checksums.txt: name, shape and checksum of every tensor that a reader should see.

Usage: make_tiny_models.py [--check]
  --check  also runs the GGUF files in llama.cpp and compares its logits with transformers': proof that the layout
           written here (rotary pairs above all) is the one that llama.cpp means
"""

import argparse
import json
import pathlib
import shutil

import gguf
import numpy as np
import tokenizers
import torch
import transformers

from checksum import checksum

DATA = pathlib.Path(__file__).resolve().parent / "data"
SEED = 20240612
VOCAB = 272  # embeddings; the tokenizer has fewer tokens, as many models do
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "bos_token_id": 256,
    "eos_token_id": 257, "pad_token_id": 257,
}  # fmt: skip
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
GGUF_LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def make_tokenizer() -> tokenizers.Tokenizer:
    """Bytes, two control tokens and a few merges."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(alphabet)}
    vocab |= {"<|start|>": 256, "<|end|>": 257}
    merges = [("a", "b"), ("ab", "c"), ("Ġ", "a"), ("e", "r")]
    vocab |= {left + right: 258 + i for i, (left, right) in enumerate(merges)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|start|>", "<|end|>"])
    return tokenizer


def make_models() -> dict[str, tuple]:
    """name -> (model, keyword arguments of its saving)."""
    t = transformers
    f32, f16, bf16 = torch.float32, torch.float16, torch.bfloat16
    llama = t.LlamaConfig(**SIZES, head_dim=8, rope_parameters=LLAMA3_ROPE)
    mistral = t.MistralConfig(**SIZES, head_dim=8, sliding_window=None)
    qwen2 = t.Qwen2Config(**SIZES)
    qwen3 = t.Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True)
    return {
        "llama": (t.LlamaForCausalLM(llama).to(f32), {}),
        "mistral": (t.MistralForCausalLM(mistral).to(bf16), {}),
        "qwen2": (t.Qwen2ForCausalLM(qwen2).to(f16), {"max_shard_size": "12KB"}),
        "qwen3": (t.Qwen3ForCausalLM(qwen3).to(bf16), {}),
    }


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draws every weight, norms and biases too, in the names' order."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        values = torch.randn(weight.shape, generator=generator) * 0.4
        weight.data.copy_(values + 1 if name.endswith("norm.weight") else values)


def save_folder(model, options: dict, folder: pathlib.Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, **options)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<|start|>", "eos_token": "<|end|>", "add_bos_token": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / "generation_config.json").unlink(missing_ok=True)
    lines = [
        f"{name} {','.join(map(str, weight.shape))} {checksum(weight.detach().float().numpy())}\n"
        for name, weight in sorted(model.named_parameters())
    ]
    (folder / "checksums.txt").write_text("".join(lines))


def interleave(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Rows (or elements of a bias) from rotary halves to rotary pairs within each head."""
    halves = weight.reshape(num_heads, 2, -1, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def gguf_name(name: str) -> str:
    whole = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in whole:
        return whole[name]
    _, _, layer, *stem, suffix = name.split(".")
    return f"blk.{layer}.{GGUF_LAYER_NAMES['.'.join(stem)]}.{suffix}"


def save_gguf(model, architecture: str, path: pathlib.Path) -> None:
    config = model.config
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    add_tokenizer(writer)
    if config.rope_parameters["rope_type"] == "llama3":
        scaled = model.model.rotary_emb.inv_freq.double()
        base = config.rope_parameters["rope_theta"] ** -(torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        writer.add_tensor("rope_freqs.weight", (base / scaled).float().numpy())
    for name, weight in sorted(model.named_parameters()):
        values = weight.detach().float().numpy()
        if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
            values = interleave(values, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        # In half precision, so that the file is small, where transformers has it so too; norms and biases never.
        half = model.dtype == torch.float16 and values.ndim == 2
        writer.add_tensor(gguf_name(name), values.astype(np.float16) if half else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter) -> None:
    described = json.loads(make_tokenizer().to_str())["model"]
    by_id = {i: token for token, i in described["vocab"].items()}
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(VOCAB)]
    control = gguf.TokenType.CONTROL
    types = [control if i in (256, 257) else gguf.TokenType.NORMAL if i in by_id else gguf.TokenType.UNUSED
             for i in range(VOCAB)]  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in described["merges"]])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)


def check_in_llama_cpp(model, path: pathlib.Path) -> None:
    import llama_cpp

    tokens = [int(i) for i in np.random.default_rng(SEED).integers(0, 256, 100)]
    with torch.no_grad():
        expected = model.float()(torch.tensor([tokens])).logits[0].numpy()
    other = llama_cpp.Llama(str(path), n_ctx=128, logits_all=True, verbose=False)
    other.eval(tokens)
    error = np.abs(other.scores[: len(tokens)] - expected).max()
    print(f"{path.name}: logits of up to {np.abs(expected).max():.2f} differ from llama.cpp's by at most {error:.4f}")
    assert error < 0.02 * np.abs(expected).max()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true")
    check = arguments.parse_args().check
    for i, (name, (model, options)) in enumerate(make_models().items()):
        randomise(model, SEED + i)
        save_folder(model, options, DATA / f"tiny-{name}")
        if name in ("llama", "qwen2"):
            path = DATA / f"tiny-{name}.gguf"
            save_gguf(model, name, path)
            if check:
                check_in_llama_cpp(model, path)


if __name__ == "__main__":
    main()
