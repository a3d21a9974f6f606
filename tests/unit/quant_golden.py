"""Prints the hashes of tests/unit/quant_test.c: what the public gguf package makes of one stream.

Run with any Python that has numpy and gguf; needed only when a format is added.
"""
import gguf
import numpy as np

N = 64 * 32


def stream():
    state, out = 2463534242, []
    for _ in range(N):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        out.append(((state >> 8) - (1 << 23)) / (1 << 23))
    return np.array(out, dtype=np.float32)


def fnv(data):
    h = 2166136261
    for byte in data:
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    return h


for name in ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
    kind = gguf.GGMLQuantizationType[name]
    blocks = gguf.quants.quantize(stream(), kind)
    back = np.ascontiguousarray(gguf.quants.dequantize(blocks, kind), dtype=np.float32)
    print("    {Q_%s, 0x%08x, 0x%08x}," % (name.lower(), fnv(blocks.tobytes()), fnv(back.tobytes())))
