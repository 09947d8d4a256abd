"""Text of many kinds for comparing tokenizers: what the machine has, and seeded random text. Nothing of it is kept."""

import gettext
import json
import pathlib
import random
import shutil
import subprocess
import sysconfig
import unicodedata

# First and last letters of scripts, for words that no vocabulary knows.
SCRIPTS = {
    "latin": (0x61, 0x7A), "latin1": (0xDF, 0xFF), "greek": (0x3B1, 0x3C9), "cyrillic": (0x430, 0x44F),
    "hebrew": (0x5D0, 0x5EA), "arabic": (0x627, 0x64A), "devanagari": (0x904, 0x94D), "thai": (0xE01, 0xE4E),
    "hiragana": (0x3041, 0x3096), "han": (0x4E00, 0x9FA5), "hangul": (0xAC00, 0xD7A3), "gothic": (0x10330, 0x1034A),
}  # fmt: skip
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "🏳️‍🌈", "1️⃣", "©", "™", "→"]
SPACES = [" ", "  ", "\n", "\t", "\r\n", "\n\n", "\u00a0", "\u3000", "\u2003", "\u200b", "\x0b", "\x0c", "\x85", "\u2028"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'Re", "'ſ", "'l", "'r", "'", "''s", "’s"]


def files(pattern: str, folder: str, limit: int, rng: random.Random) -> str:
    """Up to `limit` characters of the files in `folder`, in random order."""
    paths = sorted(p for p in pathlib.Path(folder).rglob(pattern) if p.is_file() and not p.is_symlink())
    rng.shuffle(paths)
    parts, size = [], 0
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")[:100_000]
        except (OSError, UnicodeDecodeError):
            continue
        parts.append(text)
        size += len(text)
        if size >= limit:
            break
    return "\n".join(parts)[:limit]


def translations(limit: int, rng: random.Random) -> str:
    """Messages of installed programs in their languages."""
    paths = sorted(pathlib.Path("/usr/share/locale").glob("*/LC_MESSAGES/*.mo"))
    rng.shuffle(paths)
    parts, size = [], 0
    for path in paths:
        try:
            with path.open("rb") as file:
                catalog = gettext.GNUTranslations(file)._catalog
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        text = "\n".join(str(m) for m in catalog.values())[:50_000]
        parts.append(text)
        size += len(text)
        if size >= limit:
            break
    return "\n".join(parts)[:limit]


def bible(limit: int) -> str:
    if not shutil.which("bible"):
        return ""
    run = subprocess.run(["bible", "-f", "Gen1:1-Rev22:21"], capture_output=True, text=True, check=False)
    return run.stdout[:limit]


def random_word(rng: random.Random) -> str:
    first, last = rng.choice(list(SCRIPTS.values()))
    return "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 12)))


def random_character(rng: random.Random) -> str:
    while True:
        c = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0x20000), rng.randrange(0x110000)])
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def random_piece(rng: random.Random) -> str:
    kind = rng.randrange(9)
    if kind < 3:
        return random_word(rng) + rng.choice(CONTRACTIONS + [""] * 20)
    if kind == 3:
        return rng.choice(SPACES) * rng.choice([1, 1, 2, 3, 7, 40])
    if kind == 4:
        return rng.choice(EMOJI) * rng.randint(1, 3)
    if kind == 5:
        return str(rng.randrange(10 ** rng.randint(1, 12)))
    if kind == 6:
        return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randint(1, 6)))
    if kind == 7:
        return random_character(rng)
    return rng.choice(CONTRACTIONS)


def random_text(limit: int, rng: random.Random) -> str:
    parts, size = [], 0
    while size < limit:
        part = random_piece(rng) + (" " if rng.random() < 0.4 else "")
        parts.append(part)
        size += len(part)
    return "".join(parts)


def random_json(limit: int, rng: random.Random) -> str:
    def value(depth: int):
        kind = rng.randrange(6 if depth < 4 else 4)
        if kind < 2:
            return random_text(20, rng)
        if kind == 2:
            return rng.choice([None, True, False, rng.random(), rng.randrange(1 << 40)])
        if kind == 3:
            return random_word(rng)
        if kind == 4:
            return [value(depth + 1) for _ in range(rng.randrange(5))]
        return {random_word(rng): value(depth + 1) for _ in range(rng.randrange(5))}

    parts, size = [], 0
    while size < limit:
        part = json.dumps(value(0), ensure_ascii=rng.random() < 0.2, indent=rng.choice([None, 1, 2, 4, "\t"]))
        parts.append(part)
        size += len(part) + 1
    return "\n".join(parts)


def every_character() -> str:
    """Every code point once, between letters, and once among its neighbours."""
    valid = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    # Most of them are Han, Hangul, unassigned or private, and all alike: of those every 64th.
    alike = {"CJK UNIFIED", "HANGUL SYLL", "TANGUT IDEO", ""}
    chosen = [c for c in valid if unicodedata.name(c, "")[:11] not in alike or ord(c) % 64 == 0 or ord(c) < 0x3000]
    return "".join(valid[: 0x20000 - 0x800]) + "".join(f"a{c}'s {c}1{c}" for c in chosen)


def collect(seed: int) -> dict[str, str]:
    """Named texts, more than 5 MB in UTF-8 together."""
    rng = random.Random(seed)
    texts = {
        "bible": bible(1_000_000),
        "documentation": files("*", "/usr/share/doc", 1_200_000, rng),
        "python": files("*.py", sysconfig.get_paths()["stdlib"], 1_200_000, rng),
        "unicode tables": files("*", "/usr/share/perl", 500_000, rng),
        "translations": translations(400_000, rng),
        "json": random_json(300_000, rng),
        "random": random_text(500_000, rng),
        "characters": every_character(),
    }
    missing = 5_000_000 - sum(len(t.encode()) for t in texts.values())
    if missing > 0:
        texts["more random"] = random_text(missing, rng)
    return texts


def broken_bytes(size: int, seed: int) -> bytes:
    """Text with bytes that are not UTF-8: random ones, and characters cut short."""
    rng = random.Random(seed)
    data = bytearray(random_text(size, rng).encode())
    for _ in range(size // 20):
        at = rng.randrange(len(data))
        data[at] = rng.randrange(256)
    return bytes(data)
