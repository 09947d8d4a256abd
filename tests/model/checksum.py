"""The checksum of tensors that golden files of this folder hold; tests compute the same in C++."""

import numpy as np


def checksum(values: np.ndarray) -> str:
    """Of float32 bits b[0], b[1], ... the sum of b[i] * (2 i + 1) modulo 2^64, as 16 hexadecimal digits."""
    bits = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32).astype(np.uint64)
    weights = np.arange(bits.size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return f"{int((bits * weights).sum(dtype=np.uint64)):016x}"
