#!/usr/bin/env python3
"""Compares the engine's segment scores on a real model with the same arithmetic in float32 torch, written out plainly
from the method's description: streaming with sinks, a window and cache positions; probes and attention heads; BM25;
neighbours; choice by budget. Text and questions are made up from a seed.

Usage: compare_retrieval.py PATH_OF_score_segments MODEL.gguf PROFILE.json... [--questions N] [--tokens N]

Exit status 0: all within the limits; 77: the model is not there (skipped).
"""

import argparse
import bisect
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile

BLOCK, BUDGET = 256, 128  # tokens
# By the profile's arithmetic. int8 is not the oracle's arithmetic: here it is only seen to be near.
MAX_ERROR = {"bf16": 1e-2, "int8": 5e-2}  # of a segment's score, as a share of it
MIN_SAME_CHOICE = {"bf16": 0.98, "int8": 0.9}  # of the tokens chosen

STOP_WORDS = set(
    "a an and are as at be by did do does for from had has have how in is it its of on or that the their there these they "
    "this to was were what when where which who whom whose why will with".split()
)


def rounded(x):
    """To bfloat16 and back."""
    import torch

    return x.to(torch.bfloat16).to(torch.float32)


class Weights:
    """Tensors of a GGUF file in float32, and its tokenizer (byte-level BPE, digits one by one)."""

    def __init__(self, path: str):
        import gguf
        import numpy as np
        import tokenizers
        import torch

        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        number = lambda name: fields[f"llama.{name}"]  # noqa: E731
        self.num_layers = number("block_count")
        self.heads, self.kv_heads = number("attention.head_count"), number("attention.head_count_kv")
        self.epsilon = number("attention.layer_norm_rms_epsilon")
        self.tensors = {
            t.name: torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).astype(np.float32)) for t in reader.tensors
        }
        self.tensors = {n: t.reshape(list(map(int, r.shape))[::-1]) for (n, t), r in zip(self.tensors.items(), reader.tensors)}
        # What the engine keeps in bfloat16 is rounded here, too: matrices, and further down the stored vectors.
        self.tensors = {n: rounded(t) if t.ndim == 2 else t for n, t in self.tensors.items()}
        self.dim = self.tensors["blk.0.attn_q.weight"].shape[0] // self.heads
        self.frequencies = number("rope.freq_base") ** (-torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        names = fields["tokenizer.ggml.tokens"]
        merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
        bpe = tokenizers.models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges)
        self.tokenizer = tokenizers.Tokenizer(bpe)
        pre = tokenizers.pre_tokenizers
        self.tokenizer.pre_tokenizer = pre.Sequence([pre.Digits(True), pre.ByteLevel(add_prefix_space=False)])
        control = [name for name, kind in zip(names, fields["tokenizer.ggml.token_type"]) if kind == 3]
        self.tokenizer.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False) for name in control])

    def encode(self, text: str):
        encoding = self.tokenizer.encode(text)
        return encoding.ids, [end for _, end in encoding.offsets]  # ASCII: characters are bytes

    def linear(self, name, x):
        return x @ self.tensors[name + ".weight"].T

    def rms(self, x, weight=None):
        x = x / (x.pow(2).mean(-1, keepdim=True) + self.epsilon).sqrt()
        return x if weight is None else x * self.tensors[weight]

    def rotate(self, x, first: int):
        """x [n, heads, dim] at places first, first + 1, ...; the file keeps rotary pairs side by side."""
        import torch

        angles = (torch.arange(first, first + len(x), dtype=torch.float64)[:, None] * self.frequencies).float()[:, None]
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack([even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()], -1).flatten(-2)


class Stream:
    """What a stream of tokens leaves behind in each layer: unrotated keys and values of the sinks and of the window."""

    def __init__(self, weights: Weights, depth: int, window: int, prefix: list[int]):
        self.weights, self.depth, self.window = weights, depth, window
        self.past = [None] * depth  # [layer] (keys, values), each [sinks + window, kv_heads, dim]
        self.sinks = 0
        self.run(prefix, set())
        self.sinks = len(prefix)

    def fork(self):
        other = Stream.__new__(Stream)
        other.__dict__ = self.__dict__ | {"past": list(self.past)}
        return other

    def run(self, ids: list[int], taps: set) -> dict:
        """taps: ("input", layer), ("key", layer) or ("query", layer). -> tap: [n, ...]"""
        import torch

        parts = [self._block(ids[i : i + BLOCK], taps) for i in range(0, len(ids), BLOCK)]
        return {tap: torch.cat([part[tap] for part in parts]) for tap in taps}

    def _block(self, ids, taps):
        import torch

        w = self.weights
        x, out = w.tensors["token_embd.weight"][torch.tensor(ids)], {}
        n = len(ids)
        for layer in range(self.depth + 1):
            if ("input", layer) in taps:
                out["input", layer] = w.rms(x)
            if layer == w.num_layers:
                break
            name = f"blk.{layer}."
            h = w.rms(x, name + "attn_norm.weight")
            q = w.linear(name + "attn_q", h).view(n, w.heads, w.dim)
            k = w.linear(name + "attn_k", h).view(n, w.kv_heads, w.dim)
            v = w.linear(name + "attn_v", h).view(n, w.kv_heads, w.dim)
            out |= {tap: value for tap, value in ((("key", layer), k), (("query", layer), q)) if tap in taps}
            if layer == self.depth:
                break
            if self.past[layer] is not None:
                k, v = torch.cat([self.past[layer][0], k]), torch.cat([self.past[layer][1], v])
            keep = torch.cat([k[: self.sinks], k[self.sinks :][-self.window :]])
            self.past[layer] = rounded(keep), rounded(torch.cat([v[: self.sinks], v[self.sinks :][-self.window :]]))
            x = x + w.linear(name + "attn_output", self._attend(q, k, v))
            h = w.rms(x, name + "ffn_norm.weight")
            gate = torch.nn.functional.silu(w.linear(name + "ffn_gate", h))
            x = x + w.linear(name + "ffn_down", gate * w.linear(name + "ffn_up", h))
        return out

    def _attend(self, q, k, v):
        import torch

        w, n, past = self.weights, len(q), len(k) - len(q)
        q, k = w.rotate(q, past), w.rotate(k, 0)
        k, v = (y.repeat_interleave(w.heads // w.kv_heads, 1) for y in (k, v))
        i, j = torch.arange(past, past + n)[:, None], torch.arange(past + n)[None]
        window = self.window if past else n  # the prefix sees all of itself
        seen = (j <= i) & ((j < self.sinks) | (i - j < window))
        z = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(w.dim)
        return torch.einsum("hij,jhd->ihd", z.masked_fill(~seen, -math.inf).softmax(-1), v).flatten(1)


def indent_at(text: str, offset: int) -> int:
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return sum({" ": 1, "\t": 8}.get(sign, 0) for sign in line[: len(line) - len(line.lstrip())])


def segment_starts(text: str, ends: list[int], longest: int, indented: int) -> list[int]:
    """Tokens that begin a sentence or a line, or the next part of a long one: a boundary lies behind a sentence's end
    and a blank, or behind a newline; the next token whose first sign stands behind it begins a segment. But a line
    deeper than the one its segment begins in belongs to it as long as that is shorter than `indented`."""
    boundaries = [m.end() for m in re.finditer(r"[.!?][.!?\"')\]}]*\s|\n", text)]
    first_signs = []  # (offset, token) of tokens that are not blank
    begin = 0
    for token, end in enumerate(ends):
        piece = text[begin:end]
        if piece.strip():
            first_signs.append((begin + len(piece) - len(piece.lstrip()), token))
        begin = end
    natural = {}  # token -> indentation of its line, or None where a sentence begins within a line
    for boundary in boundaries:
        place = bisect.bisect_left(first_signs, (boundary, 0))
        if place < len(first_signs):
            sign, token = first_signs[place]
            begins_line = "\n" in text[boundary - 1 : sign]
            natural[token] = indent_at(text, sign) if begins_line and natural.get(token, 0) is not None else None
    starts, indent = [0], indent_at(text, first_signs[0][0])
    sign_of = {token: sign for sign, token in first_signs}
    for token in range(1, len(ends)):
        length = token - starts[-1]
        goes_on = natural.get(token) is not None and natural[token] > indent and length < indented
        if (token in natural and not goes_on) or length >= longest:
            starts.append(token)
            indent = indent_at(text, sign_of.get(token, ends[token]))
    return starts


def words_of(text: str) -> list[str]:
    words = [word.lower() for word in re.findall(r"[A-Za-z0-9]+", text)]
    return [w if any(c.isdigit() for c in w) else w[:6] for w in words if w not in STOP_WORDS]


def segment_words(text: str, ends: list[int], starts: list[int]) -> list[list[str]]:
    """The words that begin in each segment; a block's last word ends with the block."""
    words = [[] for _ in starts]
    for block in range(0, len(ends), BLOCK):
        first = ends[block - 1] if block else 0
        for match in re.finditer(r"[A-Za-z0-9]+", text[first : ends[min(block + BLOCK, len(ends)) - 1]]):
            token = next(i for i in range(block, len(ends)) if ends[i] > first + match.start())
            segment = max(i for i, start in enumerate(starts) if start <= token)
            words[segment] += words_of(match.group())
    return words


def bm25(segments: list[list[str]], question: str, k1: float, b: float) -> list[float]:
    scores, greatest = [0.0] * len(segments), 0.0
    mean = max(1.0, sum(map(len, segments)) / len(segments))
    for word in set(words_of(question)):
        found = sum(word in segment for segment in segments)
        idf = math.log(1 + (len(segments) - found + 0.5) / (found + 0.5))
        greatest += idf * (k1 + 1)
        for i, segment in enumerate(segments):
            count = segment.count(word)
            scores[i] += idf * count * (k1 + 1) / (count + k1 * (1 - b + b * len(segment) / mean))
    return [score / greatest if greatest else 0.0 for score in scores]


def layers_of(head: dict) -> list[int]:
    return head["layers"] if head["kind"] == "pooled" else [head["layer"]]


def read_safetensors(path: pathlib.Path) -> dict:
    import torch

    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        kind = {"F32": torch.float32, "BF16": torch.bfloat16}[entry["dtype"]]
        tensors[name] = torch.frombuffer(bytearray(content[begin:end]), dtype=kind).float().reshape(entry["shape"])
    return tensors


class Oracle:
    def __init__(self, weights: Weights, profile: dict, probes: dict, text: str):
        self.weights, self.profile, self.probes, self.text = weights, profile, probes, text
        self.depth = max(layer for head in profile["heads"] for layer in layers_of(head))
        prefix = weights.encode(profile["prefix"])[0]
        start = Stream(weights, self.depth, profile.get("window", 256), prefix)
        self.question_start = start.fork()
        passage = weights.encode(profile.get("neutral_passage", ""))[0]
        if passage:
            self.question_start.run(passage, set())
        ids, self.ends = weights.encode(text)
        self.taps = start.run(ids, self._taps("key"))
        self.starts = segment_starts(text, self.ends, profile.get("max_segment", 96), profile.get("max_indented", 0))
        self.stops = self.starts[1:] + [len(ids)]
        self.words = segment_words(text, self.ends, self.starts)

    def _taps(self, of_keys: str) -> set:
        kinds = {"key": of_keys}
        return {(kinds.get(h["kind"], "input"), layer) for h in self.profile["heads"] for layer in layers_of(h)}

    def scores(self, question: str) -> list[float]:
        import torch

        ids = self.weights.encode(self.profile.get("question_prefix", "") + question)[0]
        taps = self.question_start.fork().run(ids, self._taps("query"))
        if self.profile.get("scoring", "max_sim") == "attention":
            return self._attention(taps)
        total = torch.zeros(len(self.starts), dtype=torch.float64)
        for number, head in enumerate(self.profile["heads"]):
            if head["kind"] == "pooled":
                total += head.get("weight", 1.0) * self._pooled(head, number, taps).double()
                continue
            probe = {name: self.probes[f"heads.{number}.{name}"] for name in ("key", "query", "gate", "gate_bias")}
            unit = torch.nn.functional.normalize
            keys = rounded(unit(self.taps["input", head["layer"]] @ probe["key"].T, dim=-1))
            h = taps["input", head["layer"]]
            queries, w = unit(h @ probe["query"].T, dim=-1), torch.nn.functional.softplus(h @ probe["gate"] + probe["gate_bias"])
            products = queries @ keys.T  # [question tokens, tokens]
            best = torch.stack([products[:, a:b].amax(1) for a, b in zip(self.starts, self.stops)])
            total += head.get("weight", 1.0) * (best @ w / w.sum()).double()
        scores = total.tolist()
        lexical = self.profile.get("lexical", {})
        if lexical.get("weight", 0) > 0:
            shares = bm25(self.words, question, lexical.get("k1", 0.9), lexical.get("b", 0.4))
            power = lexical.get("power", 1)
            scores = [s + lexical["weight"] * share**power for s, share in zip(scores, shares)]
        weight, last = self.profile.get("neighbour_weight", 0), len(scores) - 1
        return [s + weight * max(scores[max(i - 1, 0)] if i else s, scores[i + 1] if i < last else s) for i, s in enumerate(scores)]

    def _pooled(self, head: dict, number: int, taps: dict):
        """-> [segments], cosines between one vector of the question and one of each segment, the sum over its parts."""
        import torch

        def weighted(taps, gate):
            h = torch.cat([taps["input", layer] for layer in head["layers"]], -1)
            weight, bias = (self.probes[f"heads.{number}.{name}"] for name in (gate, gate + "_bias"))
            return h * torch.nn.functional.softplus(h @ weight + bias)[:, None]

        query = weighted(taps, "gate").sum(0) @ self.probes[f"heads.{number}.query"].T
        tokens, project = weighted(self.taps, "key_gate"), self.probes[f"heads.{number}.key"].T
        vectors = []
        for begin, end in zip(self.starts, self.stops):
            edges = [begin, *range((begin // BLOCK + 1) * BLOCK, end, BLOCK), end]  # a part ends with its block
            parts = torch.stack([tokens[a:b].sum(0) for a, b in zip(edges, edges[1:])]) @ project
            scale = parts.abs().amax(1, keepdim=True) / 127
            vectors.append(((parts / scale).round() * scale).sum(0))
        return torch.nn.functional.cosine_similarity(torch.stack(vectors), query[None])

    def _attention(self, taps) -> list[float]:
        import torch

        per_token = torch.zeros(len(self.ends))
        for head in self.profile["heads"]:
            keys = rounded(self.taps["key", head["layer"]][:, head["key_head"]])
            for query_head in head["query_heads"]:
                z = taps["query", head["layer"]][:, query_head] @ keys.T / math.sqrt(self.weights.dim)
                per_token = torch.maximum(per_token, head.get("weight", 1.0) * z.softmax(-1).amax(0))
        return [float(per_token[a:b].sum()) for a, b in zip(self.starts, self.stops)]

    def chosen(self, scores: list[float]) -> set[int]:
        """Tokens of whole segments, best first, as long as they fit."""
        tokens, left = set(), BUDGET
        for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
            if left < 8:
                break
            if self.stops[i] - self.starts[i] <= left:
                tokens |= set(range(self.starts[i], self.stops[i]))
                left -= self.stops[i] - self.starts[i]
        return tokens


def make_text(num_tokens: int, weights: Weights, generator: random.Random) -> tuple[str, list[str]]:
    """Statements about made-up things, and a question to some of them."""
    names = ["".join(generator.choice(("ka", "ro", "mi", "len", "dor", "vi", "sta", "nu")) for _ in range(3)).title() for _ in range(40)]
    things = "bridge tower library mill harbour statue theatre railway well school garden chapel market lighthouse".split()
    forms = [
        ("The {thing} of {name} was opened in {year}.", "When was the {thing} of {name} opened?"),
        ("{name} sold its old {thing} for {number} crowns!", "How much did {name} get for its {thing}?"),
        ("Nobody in {name} knows who built the {thing}, but {other} pays for it.", "Who pays for the {thing} in {name}?"),
        ('"The {thing} is closed," said the mayor of {name}, and left for {other}.\n', "Where did the mayor of {name} go?"),
        ("It rained for {number} days, and the {thing} in {name} was flooded twice.", "What happened to the {thing} in {name}?"),
    ]  # fmt: skip
    sentences, questions = [], []
    while len(weights.encode(" ".join(sentences))[0]) < num_tokens:
        values = {"thing": generator.choice(things), "name": generator.choice(names), "other": generator.choice(names),
                  "year": generator.randint(1200, 2020), "number": generator.randint(2, 9999)}  # fmt: skip
        statement, question = generator.choice(forms)
        sentences.append(statement.format(**values))
        questions.append(question.format(**values))
    return " ".join(sentences), questions


def compare(tool: str, model: str, weights: Weights, profile_path: pathlib.Path, text: str, questions: list[str]) -> None:
    profile = json.loads(profile_path.read_text())
    weights_path = profile_path.with_suffix(".safetensors")
    oracle = Oracle(weights, profile, read_safetensors(weights_path) if weights_path.exists() else {}, text)
    with tempfile.TemporaryDirectory(prefix="ilre-compare-") as folder:
        text_path, questions_path = pathlib.Path(folder, "text"), pathlib.Path(folder, "questions")
        text_path.write_text(text)
        questions_path.write_text("\n".join(questions))
        command = [tool, model, str(profile_path), str(text_path), str(questions_path), str(BUDGET)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == len(questions)
    worst = same = chosen = 0
    for question, line in zip(questions, map(json.loads, lines)):
        expected = oracle.scores(question)
        assert [s[:2] for s in line["segments"]] == [list(s) for s in zip(oracle.starts, oracle.stops)], "other segments"
        for (_, _, score), wanted in zip(line["segments"], expected):
            worst = max(worst, abs(score - wanted) / abs(wanted))
        mine, theirs = oracle.chosen(expected), {t for a, b in line["chosen"] for t in range(a, b)}
        same, chosen = same + len(mine & theirs), chosen + len(mine | theirs)
    scoring, arithmetic = profile.get("scoring", "max_sim"), profile.get("arithmetic", "bf16")
    print(f"{profile['name']} ({scoring}, {arithmetic}): {len(oracle.ends)} tokens, {len(oracle.starts)} segments, {len(questions)} questions: "
          f"scores differ by {worst:.2%} at the most; {same / chosen:.2%} of the chosen tokens are the same")  # fmt: skip
    assert worst <= MAX_ERROR[arithmetic], "scores differ by more than they may"
    assert same / chosen >= MIN_SAME_CHOICE[arithmetic], "other segments are chosen"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("model")
    parser.add_argument("profiles", type=pathlib.Path, nargs="+")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=2500)
    arguments = parser.parse_args()
    if not pathlib.Path(arguments.model).exists():
        print(f"{arguments.model} is not there: run scripts/setup")
        sys.exit(77)
    import torch

    torch.set_grad_enabled(False)
    weights = Weights(arguments.model)
    generator = random.Random(4)
    text, questions = make_text(arguments.tokens, weights, generator)
    questions = generator.sample(questions, min(arguments.questions, len(questions)))
    for profile in arguments.profiles:
        compare(arguments.tool, arguments.model, weights, profile, text, questions)
    # The published scoring, by heads of the model itself.
    shipped = json.loads(arguments.profiles[0].read_text())
    with tempfile.TemporaryDirectory(prefix="ilre-compare-") as folder:
        keys = pathlib.Path(folder, "keys.json")
        heads = [{"kind": "key", "layer": layer, "dim": weights.dim, "key_head": query_head // 3, "query_heads": [query_head]}
                 for layer, query_head in ((2, 4), (7, 7))]  # fmt: skip
        kept = {name: shipped[name] for name in ("format", "model", "prefix", "neutral_passage", "question_prefix")}
        keys.write_text(json.dumps(kept | {"name": "keys", "scoring": "attention", "heads": heads}))
        compare(arguments.tool, arguments.model, weights, keys, text, questions)


if __name__ == "__main__":
    main()
