#!/usr/bin/env python3
"""Writes tests/tokenizer/golden and the seeds of tests/fuzz/corpus/tokenizer_json: small tokenizers of each kind, with texts and the ids that their own libraries give.

    .venv/bin/python tests/tokenizer/make_golden.py

Vocabularies are trained on seeded random text, so nothing in them comes from anywhere else. Each folder has the
tokenizer as a model's folder would, and cases.json: [{"text": ..., "ids": [...]}, ...].
"""

import io
import json
import pathlib
import random
import unicodedata

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import compare
import corpus

SEEDS = pathlib.Path(__file__).resolve().parent.parent / "fuzz/corpus/tokenizer_json"
GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
VOCAB_SIZE = 420
SYLLABLES = ["the", "ing", "re", "st", "in", "er", "an", "at", "on", "is", "ou", "qu", "ß", "é", "да", "не", "的", "日本"]
CASES = [
    "", " ", "  ", "   a", "a   ", "a\n\n b\t\tc", "\t\t1", " \r\n x", "x \n\n\n", "\u3000\u3000x", "a\u00a0b", "\x85a",
    "it's we'll I'M THEY'RE o'clock 'tis 'ſ", "''''s", "' s", "'", "a'", "1234567 12 3.14 ١٢٣ ⅷ½² 𝟙𝟚", " 1  2   3",
    "!?!? ...\n\n{}[]\r\r", "a_b-c/d\\e", "naïve Straße привет мир 日本語テキスト 한국어 ไทย עברית हिन्दी",
    "😀👍🏽👩‍👩‍👧‍👦🇩🇪", "e\u0301 \u200b\u200d\ufeff", "\x00\x01\x04\x7f\x16a\x04b\x04", "\U0001f9ff\U00050000\ue000",
    "a" * 70, "ab" * 60, "aaaaaaaaaaa aaa aa", "<|im_start|>user\n<s></s><0x0A>",
]  # fmt: skip


def training_text(rng: random.Random) -> list[str]:
    def word() -> str:
        return "".join(rng.choice(SYLLABLES[: rng.randint(4, len(SYLLABLES))]) for _ in range(rng.randint(1, 3)))

    words = [word() for _ in range(400)]
    lines = []
    for _ in range(3000):
        line = " ".join(rng.choices(words, weights=[1 / (i + 1) for i in range(400)], k=rng.randint(2, 12)))
        lines.append(line.capitalize() + rng.choice([".", "!", "?\n\n", ";\n", "...", "'s", "'ll go", "  ", " 2024", ""]))
    return lines


def cases(rng: random.Random) -> list[str]:
    return CASES + [corpus.random_text(40, rng) for _ in range(30)] + training_text(rng)[:20]


def write(folder: str, files: dict[str, bytes | str], texts: list[str], encode) -> None:
    target = GOLDEN / folder
    target.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": t, "ids": encode(t)}, separators=(",", ":")) for t in texts]
    files = files | {"cases.json": "[\n" + ",\n".join(lines) + "\n]\n"}
    for name, content in files.items():
        (target / name).write_bytes(content.encode() if isinstance(content, str) else content)


def byte_level(name: str, pre: str, rng: random.Random) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = compare.pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE + 100, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(training_text(rng), trainer)
    data = json.loads(tokenizer.to_str())
    model = data["model"]
    if name == "smollm":  # as SmolLM2, it has no tokens for some bytes; the others keep their order
        gone = {c for c, b in compare.byte_alphabet().items() if b in (0x04, 0x06, 0x16, 0xC0, 0xF1, 0xFF)}
        kept = [t for t, _ in sorted(model["vocab"].items(), key=lambda item: item[1]) if t not in gone]
        model["vocab"] = {t: i for i, t in enumerate(kept)}
    if name == "gpt2":  # the older way to write merges
        model["merges"] = [" ".join(pair) for pair in model["merges"]]
    if name == "llama3":  # vocabulary entries that no merge makes
        model["ignore_merges"] = True
        for word in ("Ġunmergeable", "zzzz"):
            model["vocab"][word] = len(model["vocab"])
        data["post_processor"] = json.loads(processors.TemplateProcessing(
            single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 2)]).__getstate__())  # fmt: skip
    if name == "qwen2":
        data["normalizer"] = {"type": "NFC"}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    oracle = Tokenizer.from_str(text)
    oracle.encode_special_tokens = True
    texts = cases(rng) + ["zzzz unmergeable zzzzz"]
    if name == "qwen2":  # its normaliser is accepted, but not applied (tokenizer_json.cc says why)
        texts = [t for t in texts if unicodedata.is_normalized("NFC", t)]
    write(name, {"tokenizer.json": text}, texts, lambda t: oracle.encode(t, add_special_tokens=False).ids)


def sentence_piece(rng: random.Random) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_text(rng)), model_writer=model, vocab_size=VOCAB_SIZE + 256, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, character_coverage=0.99, num_threads=1, minloglevel=2,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    write("sentencepiece", {"tokenizer.model": model.getvalue()}, cases(rng), lambda t: processor.encode(t))

    # The same vocabulary as tokenizer.json has it: merges in the order of their scores.
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    vocab = {p: i for i, p in enumerate(pieces)}
    special = {i for i in range(len(pieces)) if processor.is_control(i) or processor.is_byte(i) or processor.is_unknown(i)}
    merges = []
    for i in sorted(set(range(len(pieces))) - special, key=lambda i: -processor.get_score(i)):
        p = pieces[i]
        splits = [(p[:k], p[k:]) for k in range(1, len(p)) if p[:k] in vocab and p[k:] in vocab]
        merges += sorted(splits, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    for name in ("llama2", "metaspace"):
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        if name == "llama2":
            steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
            tokenizer.normalizer = normalizers.Sequence(steps)
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        added = [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")]
        tokenizer.add_special_tokens(added)
        text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
        tokenizer.encode_special_tokens = True
        encode = lambda t: tokenizer.encode(t, add_special_tokens=False).ids  # noqa: E731
        write(name, {"tokenizer.json": text}, cases(rng), encode)


def gemma(rng: random.Random) -> None:
    """As Gemma's: no space before a text; runs of blanks, tabs and line breaks and some tags are user-defined tokens."""
    model = io.BytesIO()
    runs = [c * n for c in "\n\t\u2581" for n in range(1 + (c == "\u2581"), 6)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_text(rng)), model_writer=model, vocab_size=VOCAB_SIZE + 256, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, character_coverage=0.99, num_threads=1, minloglevel=2, add_dummy_prefix=False,
        user_defined_symbols=[*runs, "<b>", "<br>", "</b>"], bos_piece="<bos>", eos_piece="<eos>", bos_id=2, eos_id=1,
        unk_id=3, pad_id=0,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    tags = ["a<b>c</b>", "<b><br", "<b><br>\n\n\n\n\n\n\n  x", "<", "a \t \n b", "     six      a", "<bos>\n", "<br>" * 9]
    write("gemma", {"tokenizer.model": model.getvalue()}, cases(rng) + tags, lambda t: processor.encode(t))

    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    vocab = {p: i for i, p in enumerate(pieces)}
    normal = [i for i in range(len(pieces)) if i > 3 and not processor.is_byte(i) and pieces[i] not in [*runs, "<b>", "<br>", "</b>"]]
    merges = []
    for i in [*sorted((vocab[run] for run in runs if len(run) > 1), key=lambda i: -len(pieces[i])),
              *sorted(normal, key=lambda i: -processor.get_score(i))]:  # fmt: skip
        p = pieces[i]
        merges += [(p[:k], p[k:]) for k in range(1, len(p)) if p[:k] in vocab and p[k:] in vocab]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in pieces[:4]])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in [*runs, "<b>", "<br>", "</b>"]])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
    tokenizer.encode_special_tokens = True
    encode = lambda t: tokenizer.encode(t, add_special_tokens=False).ids  # noqa: E731
    write("gemma_json", {"tokenizer.json": text}, cases(rng) + tags, encode)


def fuzz_seeds(rng: random.Random) -> None:
    """The same in little: few tokens, so that the fuzzer can change something that matters. A text follows the file."""
    SEEDS.mkdir(parents=True, exist_ok=True)
    for name in ("gpt2", "smollm", "llama3", "qwen2", "llama2", "metaspace", "gemma_json"):
        data = json.loads((GOLDEN / name / "tokenizer.json").read_text())
        model = data["model"]
        keep = set("aeinth'Ġ1!▁") | {t for t in model["vocab"] if t.startswith("<0x")}
        merges = []
        for merge in model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            if left in keep and right in keep and len(merges) < 8:
                merges.append(merge)
                keep.add(left + right)
        model["vocab"] = {t: i for i, t in enumerate(t for t in model["vocab"] if t in keep)}
        model["merges"] = merges
        special = enumerate(["<s>", "</s>", "<|im_start|>", "<|im_end|>"], start=len(keep))
        data["added_tokens"] = [{"id": i, "content": t, "special": True} for i, t in special]
        data |= {"bos_token": "<s>", "eos_token": "</s>", "chat_template": "<|im_start|>"}
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\0" + corpus.random_text(60, rng)
        (SEEDS / name).write_text(text, encoding="utf-8")
    (SEEDS / "model").write_bytes((GOLDEN / "sentencepiece/tokenizer.model").read_bytes())


def main() -> None:
    for seed, (name, pre) in enumerate([("gpt2", "gpt-2"), ("smollm", "smollm"), ("llama3", "llama-bpe"), ("qwen2", "qwen2")]):
        byte_level(name, pre, random.Random(seed))
    sentence_piece(random.Random(4))
    gemma(random.Random(6))
    fuzz_seeds(random.Random(5))


if __name__ == "__main__":
    main()
