#!/usr/bin/env python3
"""Writes tests/decoder/golden/: a small random model of each family that the decoder knows, as transformers saves it,
and beside it what transformers computes with it.

golden.safetensors of each folder holds
  ids [40] int32, logits [40, vocabulary]       a sequence, and transformers' logits for it (float32, eager attention)
  stream.prefix, stream.ids, stream.blocks      int32: a stream's sinks, its tokens, and how many tokens each call takes
  stream.window [1] int32
  stream.input, stream.key, stream.query        by stream_oracle.py, a row a token: what layer 1 leaves (the input of
                                                layer 2) divided by its root mean square; layer 1's keys and queries
                                                before rotation

Weights are random numbers rounded to bfloat16 and all computation is in float32 or finer, so that a decoder with
bfloat16 weights sees the very same model.

Usage: make_golden.py [FOLDER]   (default: golden/ beside this script)
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.numpy import save_file

from stream_oracle import Sizes, StreamOracle

VOCAB = 272
NUM_IDS = 40
STREAM_PREFIX, STREAM_BLOCKS, STREAM_WINDOW = 3, [8, 13, 1, 10], 7
STREAM_DEPTH = 2  # layers
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "bos_token_id": 256,
    "eos_token_id": 257, "pad_token_id": 257, "tie_word_embeddings": False, "attn_implementation": "eager",
}  # fmt: skip
# An original context so short that the tokens here meet all three ranges of wave lengths.
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
# The tokens here are more than the window, and their places matter to the faster frequencies of both bases.
GEMMA3 = {
    "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16, "tie_word_embeddings": True,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
    },
}  # fmt: skip


def make_models() -> dict[str, tuple]:
    """name -> (model, keyword arguments of its saving)."""
    t = transformers

    def llama(**changes):
        return t.LlamaForCausalLM(t.LlamaConfig(**{**SIZES, **changes}))

    def gemma3(layer_types, **changes):
        sizes = {**SIZES, **GEMMA3, **changes, "num_hidden_layers": len(layer_types)}
        return t.Gemma3ForCausalLM(t.Gemma3TextConfig(**sizes, layer_types=[f"{kind}_attention" for kind in layer_types]))

    linear = {**GEMMA3["rope_parameters"], "full_attention": LINEAR_ROPE}
    three_heads = {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16}
    return {
        "llama3": (llama(rope_parameters=LLAMA3_ROPE, head_dim=16, num_hidden_layers=3), {"max_shard_size": "60KB"}),
        "llama_mha_linear": (llama(num_key_value_heads=4, rope_parameters=LINEAR_ROPE), {}),
        "smollm2": (llama(**three_heads, tie_word_embeddings=True), {}),
        "mistral": (t.MistralForCausalLM(t.MistralConfig(**SIZES, head_dim=16, sliding_window=None)), {}),
        "qwen2": (t.Qwen2ForCausalLM(t.Qwen2Config(**SIZES)), {}),
        "qwen3": (t.Qwen3ForCausalLM(t.Qwen3Config(**{**SIZES, "tie_word_embeddings": True}, head_dim=16)), {}),
        "gemma3": (gemma3(["sliding", "sliding", "full"]), {}),
        "gemma3_linear": (gemma3(["sliding", "full"], rope_parameters=linear, query_pre_attn_scalar=12, num_key_value_heads=1), {}),
    }


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draws every weight, norms and biases too, in the names' order; all are numbers that bfloat16 can hold. Norms are
    near one, which Gemma's files keep as zero."""
    one = 0 if "Gemma" in type(model).__name__ else 1
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        values = torch.randn(weight.shape, generator=generator) * (1.0 if "embed_tokens" in name else 0.2)
        values = values + one if name.endswith("norm.weight") else values
        weight.data.copy_(values.to(torch.bfloat16))


def save_tokenizer(folder: pathlib.Path) -> None:
    """Bytes and two control tokens: enough for the folder to count as a model."""
    vocab = {token: i for i, token in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|start|>", "<|end|>"])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings = {"bos_token": "<|start|>", "eos_token": "<|end|>", "add_bos_token": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")


def save_folder(model, options: dict, folder: pathlib.Path) -> None:
    halved = type(model)(model.config).to(torch.bfloat16)
    halved.load_state_dict(model.state_dict())
    halved.save_pretrained(folder, **options)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_tokenizer(folder)


def frequencies_of(model, layer: int) -> np.ndarray:
    """Inverse rotary frequencies of a layer."""
    rotary = model.model.rotary_emb
    if not hasattr(rotary, "sliding_attention_inv_freq"):
        return rotary.inv_freq.double().numpy()
    return getattr(rotary, f"{model.config.layer_types[layer]}_inv_freq").double().numpy()


def stream_taps(model, ids: list[int]) -> dict[str, np.ndarray]:
    config = model.config
    sizes = Sizes(
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        eps=config.rms_norm_eps,
        frequencies=[frequencies_of(model, layer) for layer in range(STREAM_DEPTH)],
    )
    weights = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    if "Gemma" in type(model).__name__:
        weights = {name: weight + 1 if name.endswith("norm.weight") else weight for name, weight in weights.items()}
        sizes.gelu, sizes.embedding_scale = True, config.hidden_size**0.5
        sizes.query_scalar = config.query_pre_attn_scalar
        sizes.windows = [config.sliding_window if kind == "sliding_attention" else None for kind in config.layer_types]
    stream = StreamOracle(weights, sizes, STREAM_DEPTH)
    stream.start(ids[:STREAM_PREFIX])
    rest, parts = ids[STREAM_PREFIX:], []
    for size in STREAM_BLOCKS:
        parts.append(stream.block(rest[:size], STREAM_WINDOW))
        rest = rest[size:]
    return {f"stream.{name}": np.concatenate([part[name] for part in parts]) for name in parts[0]}


def save_golden(model, seed: int, folder: pathlib.Path) -> None:
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCAB, NUM_IDS, dtype=np.int32)
    stream_ids = random.integers(0, VOCAB, STREAM_PREFIX + sum(STREAM_BLOCKS), dtype=np.int32)
    with torch.inference_mode():
        logits = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy()
    tensors = {
        "ids": ids,
        "logits": logits,
        "stream.prefix": stream_ids[:STREAM_PREFIX],
        "stream.ids": stream_ids[STREAM_PREFIX:],
        "stream.blocks": np.array(STREAM_BLOCKS, dtype=np.int32),
        "stream.window": np.array([STREAM_WINDOW], dtype=np.int32),
        **{name: taps.astype(np.float32) for name, taps in stream_taps(model, stream_ids.tolist()).items()},
    }
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / "golden.safetensors")


def main() -> None:
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent / "golden")
    torch.manual_seed(0)
    for seed, (name, (model, options)) in enumerate(make_models().items(), 20250823):
        folder = target / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model = model.float().eval()
        randomise(model, seed)
        save_folder(model, options, folder)
        save_golden(model, seed, folder)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{name}: {size // 1024} KiB")


if __name__ == "__main__":
    main()
