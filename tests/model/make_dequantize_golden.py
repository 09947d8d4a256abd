#!/usr/bin/env python3
"""Writes tests/model/data/dequantize_golden.gguf: random blocks of every type that is read, dequantised by the `gguf`
package, the format's reference.

For each type T the file holds three tensors: T as quantised blocks, T.f32 as the reference dequantises them, and
T.bf16, the same rounded by the reference. The first half of the blocks have usual scales; the rest odd ones: zero,
negative zero, subnormal, the largest, infinite, NaN.

Usage: make_dequantize_golden.py [OUTPUT]
"""

import pathlib
import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

OUTPUT = pathlib.Path(__file__).resolve().parent / "data" / "dequantize_golden.gguf"
SEED = 20240611
ELEMENTS = {32: 32 * 24, 256: 256 * 12, 1: 512}  # by block size
ODD_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7D55]
ODD_FLOATS = [
    0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0xBF818000,
    0x7F7FFFFF, 0xFF7FFFFF, 0x7F7F7FFF, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000, 0x7FFFFFFF,
]  # fmt: skip
HALVES_AT = {  # byte offsets of the half-precision numbers in a block
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}  # fmt: skip


def random_blocks(kind: T, rng: np.random.Generator) -> np.ndarray:
    """Blocks of `kind` as bytes, [blocks, bytes of a block]."""
    block_elements, block_bytes = GGML_QUANT_SIZES[kind]
    count = ELEMENTS[block_elements] // block_elements
    blocks = rng.integers(0, 256, (count, block_bytes), dtype=np.uint8)
    if kind in HALVES_AT:
        usual = rng.normal(0, 0.1, (count, 2)).astype(np.float16).view(np.uint16)
        for i in range(count):
            for j, at in enumerate(HALVES_AT[kind]):
                odd = i - count // 2
                half = usual[i, j] if odd < 0 else ODD_HALVES[(odd * (2 * j + 1)) % len(ODD_HALVES)]
                blocks[i, at : at + 2] = np.array([half], np.uint16).view(np.uint8)
    elif kind == T.F32:
        usual = rng.normal(0, 1, count).astype(np.float32)
        usual[: len(ODD_FLOATS)] = np.array(ODD_FLOATS, np.uint32).view(np.float32)
        blocks = usual.view(np.uint8).reshape(count, 4)
    return blocks


def main() -> None:
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    output.parent.mkdir(exist_ok=True)
    writer = gguf.GGUFWriter(str(output), "none")
    np.seterr(all="ignore")
    for kind in (T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K):
        blocks = random_blocks(kind, np.random.default_rng([SEED, int(kind)])).reshape(1, -1)
        values = gguf.dequantize(blocks, kind).astype(np.float32).reshape(-1)
        if kind in (T.F32, T.F16):  # the package hands these through as they are
            values = blocks.view(np.float32 if kind == T.F32 else np.float16).astype(np.float32).reshape(-1)
        writer.add_tensor(kind.name, blocks.copy(), raw_dtype=kind)
        writer.add_tensor(kind.name + ".f32", values)
        writer.add_tensor(kind.name + ".bf16", gguf.quantize(values, T.BF16), raw_dtype=T.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
