"""What reading, asking and answering cost by arithmetic, fitted to what was measured, and what that says of other
models and machines."""

import dataclasses
import statistics
from typing import Sequence


@dataclasses.dataclass(frozen=True)
class Model:
    """A decoder with gated MLPs."""

    name: str
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    layers: int
    vocabulary: int

    def layer_weights(self) -> int:
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    def weights(self) -> int:
        """That a token of an answer is multiplied with."""
        return self.layers * self.layer_weights() + self.hidden * self.vocabulary

    def attention_flop(self, visible: float) -> float:
        """Of one token in one layer: products with keys, sums of values."""
        return 4 * self.heads * self.head_dim * visible

    def read_flop(self, layers: int, window: int, stored: int) -> float:
        """Of one token of a document: `layers` layers with a window, and the projection to `stored` numbers."""
        return layers * (2 * self.layer_weights() + self.attention_flop(window)) + 2 * self.hidden * stored

    def prompt_flop(self, tokens: int) -> float:
        """Of a whole prompt through all layers."""
        return tokens * self.layers * (2 * self.layer_weights() + self.attention_flop(tokens / 2))

    def answer_bytes(self, tokens: int, weight_bits: float, cache_bytes: int = 2) -> float:
        """Read for one token of an answer behind a prompt of `tokens` tokens. cache_bytes: of a number in it."""
        cache = 2 * self.layers * self.kv_heads * self.head_dim * cache_bytes
        return self.weights() * weight_bits / 8 + tokens * cache


@dataclasses.dataclass(frozen=True)
class Machine:
    """Peaks as the vendor gives them, of dense 16-bit arithmetic."""

    name: str
    flops: float
    bytes_per_s: float


SMOLLM2 = Model("SmolLM2-135M", 576, 1536, 9, 3, 64, 30, 49152)
LLAMA_8B = Model("Llama-3.1-8B", 4096, 14336, 32, 8, 128, 32, 128256)
QWEN_7B = Model("Qwen2.5-7B", 3584, 18944, 28, 4, 128, 28, 152064)
MACHINES = (
    Machine("Ascend 910B", 320e12, 1.6e12),
    Machine("NVIDIA A100 80 GB", 312e12, 2.0e12),
    Machine("NVIDIA H100 SXM", 989e12, 3.35e12),
)
# Shares of the peaks that well-made libraries reach: an assumption, not a measurement.
COMPUTE_SHARE, MEMORY_SHARE = 0.4, 0.6


@dataclasses.dataclass(frozen=True)
class Line:
    """y = base + slope * x"""

    base: float
    slope: float

    def __call__(self, x: float) -> float:
        return self.base + self.slope * x


def fit(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """The line with the least squares of relative errors, so that small and large measurements count alike."""
    weights = [1 / (y * y) for y in ys]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, xs)) / total
    mean_y = sum(w * y for w, y in zip(weights, ys)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, xs))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, xs, ys)) / spread
    return Line(mean_y - slope * mean_x, slope)


def worst_error(line: Line, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Relative, of the fit to what it was fitted to."""
    return max(abs(line(x) - y) / y for x, y in zip(xs, ys))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Seconds, but for tokens_per_s."""

    read: float
    scan: float
    prompt: float
    tokens_per_s: float


def predict(
    model: Model, machine: Machine, tokens: int, layers: int, window: int, stored: int, question: int, budget: int
) -> Prediction:
    """A document of `tokens` tokens, `stored` 16-bit numbers each, and a question of `question` vectors, by what share
    of its peaks a machine is assumed to reach. The scan takes what takes longer: its bytes or its products."""
    flops, bytes_per_s = machine.flops * COMPUTE_SHARE, machine.bytes_per_s * MEMORY_SHARE
    scan = max(tokens * stored * 2 / bytes_per_s, tokens * stored * 2 * question / flops)
    return Prediction(
        read=tokens * model.read_flop(layers, window, stored) / flops,
        scan=scan,
        prompt=model.prompt_flop(budget) / flops,
        tokens_per_s=bytes_per_s / model.answer_bytes(budget, 16),
    )


def needed_share(model: Model, machine: Machine, tokens: int, layers: int, window: int, seconds: float) -> float:
    """Of the machine's peak, to read so many tokens in so many seconds."""
    return tokens * model.read_flop(layers, window, model.kv_heads * model.head_dim) / (seconds * machine.flops)


def median_rate(amounts: Sequence[float], seconds: Sequence[float]) -> float:
    return statistics.median(amount / second for amount, second in zip(amounts, seconds))
