"""Trains a pooled head (common/retrieval/profile.h) in PyTorch and adds it to a profile. An interim: `ilre calibrate`
trains MaxSim probes alone so far. Everything is drawn with one seed.

    PYTHONPATH=bench python3 -m harness.pooled_train articles SQUAD articles.made.json --layers 0,2  # then layer_inputs
    PYTHONPATH=bench python3 -m harness.pooled_train train --layers 0,2 --squad SQUAD --minilm FOLDER --articles articles \\
        --texts texts --teacher teacher --profile IN.json --output OUT.json

A segment's vector and a question's are learned to be what a sentence-embedding model gives for the two (a cosine loss, and
the divergence between the two models' choices among segments), and to find the answers of the file's questions. Gates are
trained first, token by token, with projections that are then thrown away: those of the profile are the ridge regression
on the means that the gates give, because training them further overfits. The articles from `--trained` on are never used.
"""

import argparse
import bisect
import json
import pathlib
import random
from typing import Any

import numpy
import torch
from torch.nn import functional

from harness import minilm, pooled_texts

SHORT, LONG = (150, 1), (400, 2)  # steps of the gates, and how many times the least is drawn for one
RATE, GATE_RATE, DECAY, DROPOUT = 3e-4, 3e-3, 0.02, 0.1
TEMPERATURE, RIDGE = 0.05, 100.0
SUPERVISED = 0.5  # weight of the labelled questions' loss


def articles_document(data: list[dict[str, Any]], trained: int) -> tuple[str, list[dict[str, Any]]]:
    """The first articles as one text, each paragraph under a line "Document N:", and its questions."""
    paragraphs = [p for article in data[:trained] for p in article["paragraphs"]]
    random.Random(1).shuffle(paragraphs)
    document, questions = b"", []
    for number, paragraph in enumerate(paragraphs):
        document += f"Document {number + 1}:\n".encode()
        for asked in paragraph["qas"]:
            answer = asked["answers"][0]
            begin = len(document) + len(paragraph["context"][: answer["answer_start"]].encode())
            end = begin + len(answer["text"].encode())
            questions.append({"text": asked["question"], "begin": begin, "end": end})
        document += paragraph["context"].encode() + b"\n\n"
    return document.decode(), questions


class Pool:
    """Some texts' tokens with the vectors that the teacher gives for the texts."""

    def __init__(self, states: Any, offsets: Any, chosen: Any, teacher: Any) -> None:
        self.states, self.offsets, self.chosen, self.teacher = states, offsets, chosen, torch.as_tensor(teacher).float()

    def tokens(self, which: Any) -> tuple[Any, Any]:
        """-> [tokens, width] of these texts, and [tokens] which one of them each belongs to."""
        spans = [(int(self.offsets[i]), int(self.offsets[i + 1])) for i in which]
        index = torch.cat([torch.arange(begin, end) for begin, end in spans])
        owner = torch.repeat_interleave(torch.arange(len(spans)), torch.tensor([end - begin for begin, end in spans]))
        return self.states[index].float().flatten(1), owner


class Gate(torch.nn.Module):
    """softplus(g h + c): how much a token counts in the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(width))
        self.bias = torch.nn.Parameter(torch.tensor(0.54))

    def pool(self, pool: Pool, which: Any, dropout: float = 0.0) -> Any:
        states, owner = pool.tokens(which)
        states = functional.dropout(states, dropout)
        weight = functional.softplus(states @ self.weight + self.bias)
        total = torch.zeros(len(which)).index_add(0, owner, weight)
        sums = torch.zeros(len(which), states.shape[1]).index_add(0, owner, states * weight[:, None])
        return sums / total[:, None]

    def means(self, pool: Pool, which: Any) -> Any:
        with torch.no_grad():
            return torch.cat([self.pool(pool, which[i : i + 256]) for i in range(0, len(which), 256)])


def read_inputs(prefix: pathlib.Path, layers: list[int]) -> tuple[dict[str, Any], Any, Any]:
    """What bench/layer_inputs wrote -> its shape, [tokens, layers, hidden] of documents and of questions."""
    written = json.loads(prefix.with_suffix(".made.json").read_text(encoding="utf-8"))["layers"]
    shape = json.loads(prefix.with_suffix(".json").read_text(encoding="utf-8"))
    documents, questions = sum(d["tokens"] for d in shape["documents"]), sum(shape["questions"])
    size = prefix.with_suffix(".bin").stat().st_size // 2
    states = torch.from_file(str(prefix.with_suffix(".bin")), size=size, dtype=torch.bfloat16, shared=False)
    states = states.view(documents + questions, len(written), -1)[:, [written.index(layer) for layer in layers]]
    return shape, states[:documents], states[documents:]


def segments_of(shape: dict[str, Any], texts: list[str]) -> tuple[list[int], list[str]]:
    """-> first token of each segment, and the number of all tokens; the segments' texts."""
    offsets, found, base = [], [], 0
    for one, text in zip(shape["documents"], texts):
        raw = text.encode()
        ends = one["bytes"][1:] + [len(raw)]
        found += [raw[a:b].decode("utf-8", "replace").strip() for a, b in zip(one["bytes"], ends)]
        offsets += [base + first for first in one["segments"]]
        base += one["tokens"]
    return offsets + [base], found


def ridge(inputs: Any, wanted: Any) -> Any:
    return torch.linalg.solve(inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1]), inputs.T @ wanted).T


def unit(x: Any) -> Any:
    return functional.normalize(x, dim=-1)


def loss_of(keys: Any, wanted_keys: Any, queries: Any, wanted_queries: Any, gold: list[list[int]]) -> Any:
    """gold: for each of the first queries, the keys that answer it."""
    keys, queries, wanted_keys, wanted_queries = map(unit, (keys, queries, wanted_keys, wanted_queries))
    cosine = (1 - (keys * wanted_keys).sum(1)).mean() + (1 - (queries * wanted_queries).sum(1)).mean()
    scores = functional.log_softmax(queries @ keys.T / TEMPERATURE, 1)
    wanted = functional.softmax(wanted_queries @ wanted_keys.T / TEMPERATURE, 1)
    divergence = functional.kl_div(scores, wanted, reduction="batchmean")
    missed = torch.stack([-torch.logsumexp(scores[i, columns], 0) for i, columns in enumerate(gold)]).mean()
    return cosine + divergence + SUPERVISED * missed


class Trainer:
    """Four pools: labelled segments and questions, unlabelled ones."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(arguments.seed)
        self.rng = numpy.random.default_rng(arguments.seed)
        self._read_labelled(arguments)
        self._read_unlabelled(arguments)
        taught = torch.cat([p.teacher[p.chosen] for p in (self.segments, self.questions, self.others, self.asked)])
        self.basis = torch.linalg.svd(taught.T @ taught)[0][:, : arguments.dim]
        for pool in (self.segments, self.questions, self.others, self.asked):
            pool.teacher = pool.teacher @ self.basis
        width = self.segments.states.shape[1] * self.segments.states.shape[2]
        self.key_gate, self.query_gate = Gate(width), Gate(width)

    def _read_labelled(self, arguments: argparse.Namespace) -> None:
        data = json.loads(arguments.squad.read_text(encoding="utf-8"))["data"]
        document, questions = articles_document(data, arguments.trained)
        shape, states, asked = read_inputs(arguments.articles, arguments.layers)
        offsets, texts = segments_of(shape, [document])
        bytes_ = shape["documents"][0]["bytes"]
        self.gold = []
        for question in questions:
            first = bisect.bisect_right(bytes_, question["begin"]) - 1
            self.gold.append(list(range(first, bisect.bisect_left(bytes_, question["end"]))))
        teacher = minilm.SentenceVectors(arguments.minilm)
        self.segments = Pool(states, offsets, numpy.arange(len(texts)), teacher.encode(texts))
        counts = numpy.concatenate([[0], numpy.cumsum(shape["questions"])])
        vectors = teacher.encode([question["text"] for question in questions])
        self.questions = Pool(asked, counts, numpy.arange(len(questions)), vectors)

    def _read_unlabelled(self, arguments: argparse.Namespace) -> None:
        made = json.loads(arguments.texts.with_suffix(".made.json").read_text(encoding="utf-8"))
        shape, states, asked = read_inputs(arguments.texts, arguments.layers)
        offsets, texts = segments_of(shape, made["documents"])
        taught = json.loads(arguments.teacher.with_suffix(".json").read_text(encoding="utf-8"))
        vectors = numpy.load(arguments.teacher.with_suffix(".npy")).astype(numpy.float32)
        row = {text: number for number, text in enumerate(taught)}
        chosen = [i for i, text in enumerate(texts) if text in row]
        teacher = numpy.zeros((len(texts), vectors.shape[1]), numpy.float32)
        teacher[chosen] = vectors[[row[texts[i]] for i in chosen]]
        self.others = Pool(states, offsets, numpy.array(chosen), teacher)
        counts = numpy.concatenate([[0], numpy.cumsum(shape["questions"])])
        which = numpy.arange(len(made["questions"]))
        self.asked = Pool(asked, counts, which, vectors[[row[question] for question in made["questions"]]])

    def _draw(self, questions: int, segments: int) -> tuple[list[int], list[int], list[list[int]]]:
        """-> questions; segments that hold their answers, those beside them, and others; each question's among them."""
        drawn = list(self.rng.choice(len(self.gold), questions, replace=False))
        count = len(self.segments.chosen)
        near = {s for q in drawn for g in self.gold[q] for s in (g - 1, g, g + 1) if 0 <= s < count}
        among = sorted(near | set(self.rng.choice(count, segments).tolist()))
        place = {segment: column for column, segment in enumerate(among)}
        return drawn, among, [[place[g] for g in self.gold[q]] for q in drawn]

    def projections(self) -> tuple[Any, Any]:
        """By ridge regression on the means that the gates give now."""
        means = {
            "segments": self.key_gate.means(self.segments, self.segments.chosen),
            "questions": self.query_gate.means(self.questions, self.questions.chosen),
            "others": self.key_gate.means(self.others, self.others.chosen),
            "asked": self.query_gate.means(self.asked, self.asked.chosen),
            "others_asked": self.query_gate.means(self.others, self.others.chosen[::4]),
        }
        others = self.others.teacher[self.others.chosen]
        keys = ridge(torch.cat([means["segments"], means["others"]]), torch.cat([self.segments.teacher, others]))
        inputs = torch.cat([means["questions"], means["asked"], 0.5 * means["others_asked"]])
        return keys, ridge(inputs, torch.cat([self.questions.teacher, self.asked.teacher, 0.5 * others[::4]]))

    def train_gates(self, long: bool) -> None:
        steps, times = LONG if long else SHORT
        keys, queries = (torch.nn.Parameter(weight.clone()) for weight in self.projections())
        gates = [*self.key_gate.parameters(), *self.query_gate.parameters()]
        groups = [{"params": [keys, queries], "lr": RATE}, {"params": gates, "lr": GATE_RATE}]
        optimizer = torch.optim.AdamW(groups, weight_decay=DECAY, betas=(0.9, 0.98))
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.05, 1 - step / steps) if long else 1)
        for step in range(steps):
            loss = self._loss(keys, queries, times)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()
            if step % 50 == 49:
                print(f"gates, step {step + 1} of {steps}, loss {loss.item():.3f}", flush=True)

    def _loss(self, keys: Any, queries: Any, times: int) -> Any:
        drawn, among, gold = self._draw(16 * times, 24 * times)
        inputs, wanted = [self.key_gate.pool(self.segments, among, DROPOUT)], [self.segments.teacher[among]]
        for _ in range(times):
            first = self.rng.integers(0, len(self.others.chosen) - 40)
            run = self.others.chosen[first : first + 40]
            inputs.append(self.key_gate.pool(self.others, run, DROPOUT))
            wanted.append(self.others.teacher[run])
        asked = self.rng.choice(len(self.asked.chosen), 16 * times, replace=False)
        questions = [self.query_gate.pool(self.questions, drawn, DROPOUT)]
        questions.append(self.query_gate.pool(self.asked, asked, DROPOUT))
        wanted_questions = torch.cat([self.questions.teacher[drawn], self.asked.teacher[asked]])
        asking = torch.cat(questions) @ queries.T
        return loss_of(torch.cat(inputs) @ keys.T, torch.cat(wanted), asking, wanted_questions, gold)


def add_head(arguments: argparse.Namespace, trainer: Trainer, keys: Any, queries: Any) -> None:
    """In place of the pooled heads that the profile has, which stand behind its others."""
    from safetensors.torch import load_file, save_file  # pylint: disable=import-outside-toplevel

    profile = json.loads(arguments.profile.read_text(encoding="utf-8"))
    tensors = load_file(arguments.profile.with_suffix(".safetensors"))
    profile["heads"] = [head for head in profile["heads"] if head["kind"] != "pooled"]
    number, name = len(profile["heads"]), arguments.output.stem
    tensors = {key: tensor for key, tensor in tensors.items() if int(key.split(".")[1]) < number}
    head = {"kind": "pooled", "layers": arguments.layers, "dim": keys.shape[0], "type": "int8", "weight": arguments.weight}
    for other in profile["heads"]:
        other["weight"] *= arguments.others_weight
    profile["heads"].append(head)
    profile["name"], profile["neighbour_weight"] = name, arguments.neighbour_weight
    profile["lexical"] |= {"weight": arguments.lexical_weight, "power": arguments.lexical_power}
    gates = {"gate": trainer.query_gate, "key_gate": trainer.key_gate}
    for which, gate in gates.items():
        tensors[f"heads.{number}.{which}"] = gate.weight.detach().contiguous()
        tensors[f"heads.{number}.{which}_bias"] = gate.bias.detach().reshape(1)
    tensors[f"heads.{number}.key"] = keys.to(torch.bfloat16).contiguous()  # as they are computed with
    tensors[f"heads.{number}.query"] = queries.to(torch.bfloat16).contiguous()
    arguments.output.write_text(json.dumps(profile, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file(tensors, arguments.output.with_suffix(".safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.pooled_train", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    reading = commands.add_parser("articles", help="the labelled articles, for layer_inputs")
    training = commands.add_parser("train")
    reading.add_argument("squad", type=pathlib.Path)
    reading.add_argument("output", type=pathlib.Path)
    for name in ("--squad", "--minilm", "--articles", "--texts", "--teacher", "--profile", "--output"):
        training.add_argument(name, type=pathlib.Path, required=True)
    for command in (reading, training):
        command.add_argument(
            "--layers", type=pooled_texts.numbers, required=True, help="whose inputs the head sees, ascending: 0,2"
        )
        command.add_argument("--trained", type=int, default=18, help="articles to learn from, the first [%(default)s]")
    training.add_argument("--dim", type=int, default=256)
    training.add_argument("--long", action="store_true", help="train the gates longer: for deep layers")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--weight", type=float, default=1.0, help="of the head [%(default)s]")
    training.add_argument("--others-weight", type=float, default=0.3, help="of the profile's heads [%(default)s]")
    training.add_argument("--lexical-weight", type=float, default=1.0)
    training.add_argument("--lexical-power", type=float, default=2.0)
    training.add_argument("--neighbour-weight", type=float, default=0.2)
    arguments = parser.parse_args()
    if arguments.command == "articles":
        data = json.loads(arguments.squad.read_text(encoding="utf-8"))["data"]
        document, questions = articles_document(data, arguments.trained)
        made = {"layers": arguments.layers, "documents": [document], "questions": [q["text"] for q in questions]}
        arguments.output.write_text(json.dumps(made), encoding="utf-8")
        return
    trainer = Trainer(arguments)
    trainer.train_gates(arguments.long)
    keys, queries = trainer.projections()
    add_head(arguments, trainer, keys, queries)


if __name__ == "__main__":
    main()
