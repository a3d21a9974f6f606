"""Prints the hashes of tests/unit/quant_test.c: what the public gguf package makes of one stream.

Run with any Python that has numpy and gguf; needed only when a format is added.
"""
import gguf
import numpy as np

N = 64 * 32


def draws(state):
    """The test's next_float."""
    while True:
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        yield ((state >> 8) - (1 << 23)) / (1 << 23)


def stream():
    draw = draws(2463534242)
    return np.array([next(draw) for _ in range(N)], dtype=np.float32)


def random_blocks(name, blocks, size):
    """The test's function of this name."""
    draw = draws(777)
    floats = np.array([next(draw) for _ in range(blocks * size)], dtype=np.float32)
    data = (floats * np.float32(512) + np.float32(1024)).astype(np.int32).astype(np.uint8)
    data = data.reshape(blocks, size)
    for block in data:
        scale = np.float32(next(draw)).astype(np.float16)
        next(draw)
        block[:2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
        if name == "IQ1_M":
            block[55] &= 0xBF
    return data


def fnv(data):
    h = 2166136261
    for byte in data:
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    return h


for name in ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"):
    kind = gguf.GGMLQuantizationType[name]
    blocks = gguf.quants.quantize(stream(), kind)
    back = np.ascontiguousarray(gguf.quants.dequantize(blocks, kind), dtype=np.float32)
    print("    {Q_%s, 0x%08x, 0x%08x}," % (name.lower(), fnv(blocks.tobytes()), fnv(back.tobytes())))

for name in ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M", "MXFP4", "NVFP4"):
    kind = gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    with np.errstate(over="ignore"):
        back = gguf.quants.dequantize(random_blocks(name, N // block, size), kind)
    back = np.ascontiguousarray(back, dtype=np.float32)
    print("    {Q_%s, 0x%08x}," % (name.lower(), fnv(back.tobytes())))
