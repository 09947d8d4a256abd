"""The streaming pass over a document, written as its definition reads: one token and one head at a time, in numpy.

A stream keeps, for each layer, keys before rotation and values of its sinks (the first tokens, the prefix) and of the
last `window` tokens after them, all rounded to bfloat16. A call takes a block of tokens. Its cache is: the sinks, the
window as the calls before left it, the block's own tokens in full precision. A token's position is its place in that
cache, and the token at place p sees place j if j <= p and (j < number of sinks or p - j < window). Where the model itself
gives a layer a window, there are no sinks in it, and the lesser of the two windows counts.
"""

import dataclasses

import numpy as np


def round_to_bf16(x: np.ndarray) -> np.ndarray:
    """To the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@dataclasses.dataclass
class Sizes:
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    frequencies: list[np.ndarray]  # [depth] of [head_dim / 2] inverse rotary frequencies
    gelu: bool = False
    embedding_scale: float = 1
    query_scalar: float = 0  # 0: head_dim
    windows: list[int | None] | None = None  # [depth] of the model's own


class StreamOracle:
    """weights: by Hugging Face's names, float arrays, linear layers [out, in]."""

    def __init__(self, weights: dict[str, np.ndarray], sizes: Sizes, depth: int):
        self.weights = {name: weight.astype(np.float64) for name, weight in weights.items()}
        self.sizes = sizes
        self.depth = depth  # layers [0, depth) are run
        self.sinks = [([], []) for _ in range(depth)]  # keys and values of each layer
        self.window = [([], []) for _ in range(depth)]

    def start(self, prefix: list[int]) -> None:
        self.block(prefix, window=len(prefix))
        self.sinks, self.window = self.window, [([], []) for _ in range(self.depth)]

    def block(self, ids: list[int], window: int) -> dict[str, np.ndarray]:
        """Runs a block. Gives what the last layer leaves, divided by its root mean square, and that layer's keys and
        queries before rotation, a row a token."""
        x = [self.weights["model.embed_tokens.weight"][token] * self.sizes.embedding_scale for token in ids]
        for layer in range(self.depth):
            queries, keys, values = zip(*(self.project(layer, token) for token in x))
            sink_keys, sink_values = self.sinks[layer]
            past_keys, past_values = self.window[layer]
            all_keys = [*sink_keys, *past_keys, *keys]
            all_values = [*sink_values, *past_values, *values]
            first = len(all_keys) - len(ids)
            x = [
                self.finish(layer, x[i], self.attend(layer, queries[i], first + i, all_keys, all_values, len(sink_keys), window))
                for i in range(len(ids))
            ]
            self.window[layer] = (
                [*past_keys, *map(round_to_bf16, keys)][-window:],
                [*past_values, *map(round_to_bf16, values)][-window:],
            )
        return {
            "input": np.stack([self.normalise(token) for token in x]),
            "key": np.stack([key.ravel() for key in keys]),
            "query": np.stack([query.ravel() for query in queries]),
        }

    def normalise(self, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.sizes.eps)

    def weight(self, layer: int, name: str) -> np.ndarray:
        return self.weights[f"model.layers.{layer}.{name}.weight"]

    def linear(self, layer: int, name: str, x: np.ndarray) -> np.ndarray:
        bias = self.weights.get(f"model.layers.{layer}.{name}.bias")
        y = self.weight(layer, name) @ x
        return y if bias is None else y + bias

    def project(self, layer: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Query [heads, head_dim], key and value [kv_heads, head_dim] of one token, before rotation."""
        h = self.normalise(x) * self.weight(layer, "input_layernorm")
        query, key, value = (
            self.linear(layer, f"self_attn.{name}_proj", h).reshape(-1, self.sizes.head_dim) for name in "qkv"
        )
        if f"model.layers.{layer}.self_attn.q_norm.weight" in self.weights:
            query = self.normalise(query) * self.weight(layer, "self_attn.q_norm")
            key = self.normalise(key) * self.weight(layer, "self_attn.k_norm")
        return query, key, value

    def rotate(self, layer: int, x: np.ndarray, position: int) -> np.ndarray:
        """One head: the pairs (i, i + head_dim / 2) are turned by position * frequency_i."""
        first, second = np.split(x, 2)
        turned = (first + 1j * second) * np.exp(1j * position * self.sizes.frequencies[layer])
        return np.concatenate([turned.real, turned.imag])

    def attend(self, layer, query, place, keys, values, num_sinks, window) -> np.ndarray:
        group = self.sizes.heads // self.sizes.kv_heads
        own_window = self.sizes.windows and self.sizes.windows[layer]
        if own_window:
            num_sinks, window = 0, min(window, own_window)
        seen = [j for j in range(place + 1) if j < num_sinks or place - j < window]
        out = []
        for head in range(self.sizes.heads):
            turned = self.rotate(layer, query[head], place)
            scores = np.array([turned @ self.rotate(layer, keys[j][head // group], j) for j in seen])
            shares = np.exp((scores - scores.max()) / np.sqrt(self.sizes.query_scalar or self.sizes.head_dim))
            shares /= shares.sum()
            out.append(sum(share * values[j][head // group] for share, j in zip(shares, seen)))
        return np.concatenate(out)

    def post_norm(self, layer: int, name: str, y: np.ndarray) -> np.ndarray:
        """Models with a norm before the feed-forward layer of its own name have norms behind both halves of a layer."""
        has = f"model.layers.{layer}.pre_feedforward_layernorm.weight" in self.weights
        return self.normalise(y) * self.weight(layer, name) if has else y

    def activate(self, gate: np.ndarray) -> np.ndarray:
        if not self.sizes.gelu:
            return gate / (1 + np.exp(-gate))
        return gate / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))

    def finish(self, layer: int, x: np.ndarray, attended: np.ndarray) -> np.ndarray:
        x = x + self.post_norm(layer, "post_attention_layernorm", self.linear(layer, "self_attn.o_proj", attended))
        has_own = f"model.layers.{layer}.pre_feedforward_layernorm.weight" in self.weights
        h = self.normalise(x) * self.weight(layer, ("pre_feedforward" if has_own else "post_attention") + "_layernorm")
        gated = self.activate(self.linear(layer, "mlp.gate_proj", h)) * self.linear(layer, "mlp.up_proj", h)
        return x + self.post_norm(layer, "post_feedforward_layernorm", self.linear(layer, "mlp.down_proj", gated))
