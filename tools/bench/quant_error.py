#!/usr/bin/env python3
"""Error of the encoders against llama.cpp's, tensor by tensor.

  ninja -C build quant_shim
  tools/bench/quant_error.py [--shim build/tools/libquant_shim.so] [--peer libggml-base.so]
                             [--model FILE.gguf|.safetensors] [--rows N] [--spread S] [--json] [FORMAT..]

Prints, for every format and tensor, the root mean square error of ours and of ggml's own quantiser
(ggml_quantize_chunk), their ratio, and the processor time a weight. Two columns of ratios: without
weights; and with an importance a column (drawn once, e to the power of S times a normal number),
given to both, where errors count by it (the more of it is on few columns, the larger S). ggml refuses
iq2_xxs, iq2_xs and iq1_s without one, so it is given ones there. Tensors: two random ones and up to
three of --model. Needs numpy and gguf.
"""
import argparse
import ctypes
import json
import time

import gguf
import numpy as np

FORMATS = ("Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS IQ3_S IQ3_XXS IQ2_S "
           "IQ2_XS IQ2_XXS IQ1_M IQ1_S TQ1_0 TQ2_0 MXFP4 NVFP4").split()
NEEDS_WEIGHTS = ("IQ2_XXS", "IQ2_XS", "IQ1_S")


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--shim", default="build/tools/libquant_shim.so")
    p.add_argument("--peer", default="libggml-base.so")
    p.add_argument("--model")
    p.add_argument("--rows", type=int, default=256)
    p.add_argument("--spread", type=float, default=1.0)
    p.add_argument("--json", action="store_true")
    p.add_argument("formats", nargs="*", metavar="FORMAT")
    return p.parse_args()


def model_matrices(path):
    """Name and values of a model's matrices, one after the other."""
    if path.endswith(".safetensors"):
        from safetensors.numpy import load_file
        for name, x in load_file(path).items():
            if x.ndim == 2:
                yield name, x.astype(np.float32)
        return
    for t in gguf.GGUFReader(path).tensors:
        if len(t.shape) == 2:
            yield t.name, gguf.quants.dequantize(t.data, t.tensor_type)


def tensors(model, rows):
    rng = np.random.default_rng(0)
    out = {"gauss": rng.standard_normal((rows, 1024)) * 0.02,
           "student-4": rng.standard_t(4, (rows, 1024)) * 0.02}
    for name, x in model_matrices(model) if model else ():
        if len(out) < 5 and x.shape[1] % 256 == 0 and x.shape[0] >= 64:
            out[name] = x[:rows]
    return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in out.items()}


class Coder:
    """encode(type, x, weights or None) -> blocks; seconds of processor time are kept."""

    def __init__(self, shim, peer):
        self.shim, self.ggml = ctypes.CDLL(shim), ctypes.CDLL(peer)
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self.shim.quant_shim_encode.argtypes = [ctypes.c_uint, pointer, pointer, pointer, size]
        self.shim.quant_shim_decode.argtypes = [ctypes.c_uint, pointer, pointer, size]
        self.ggml.ggml_quantize_chunk.restype = size
        self.ggml.ggml_quantize_chunk.argtypes = (
            [ctypes.c_int, pointer, pointer] + [ctypes.c_int64] * 3 + [pointer])

    def ours(self, kind, x, weights, out):
        spread = None if weights is None else np.ascontiguousarray(np.tile(weights, x.shape[0]))
        at = None if spread is None else spread.ctypes.data
        start = time.process_time()
        if self.shim.quant_shim_encode(int(kind), x.ctypes.data, at, out.ctypes.data, x.size):
            raise SystemExit("%s is not computed" % kind.name)
        return time.process_time() - start

    def peer(self, kind, x, weights, out):
        start = time.process_time()
        self.ggml.ggml_quantize_chunk(int(kind), x.ctypes.data, out.ctypes.data, 0, x.shape[0],
                                      x.shape[1], None if weights is None else weights.ctypes.data)
        return time.process_time() - start

    def error(self, how, kind, x, weights, count):
        """Root mean square error, counted by `count` a column, and nanoseconds a weight."""
        block, size = gguf.GGML_QUANT_SIZES[kind]
        out = np.zeros(x.size // block * size, np.uint8)
        seconds = how(kind, x, weights, out)
        back = np.empty_like(x)
        self.shim.quant_shim_decode(int(kind), out.ctypes.data, back.ctypes.data, x.size)
        e = (back - x).astype(np.float64) ** 2 * count
        return float(np.sqrt(e.mean())), seconds / x.size * 1e9


def compare(coder, name, label, x, weights):
    kind = gguf.GGMLQuantizationType[name]
    ones = np.ones(x.shape[1], np.float32)
    plain = ones if name in NEEDS_WEIGHTS else None
    ours, ours_ns = coder.error(coder.ours, kind, x, None, ones)
    peer, peer_ns = coder.error(coder.peer, kind, x, plain, ones)
    ours_w, _ = coder.error(coder.ours, kind, x, weights, weights)
    peer_w, _ = coder.error(coder.peer, kind, x, weights, weights)
    return {"format": name.lower(), "tensor": label, "ours": ours, "peer": peer,
            "ratio": ours / peer, "weighted_ratio": ours_w / peer_w, "ours_ns": ours_ns,
            "peer_ns": peer_ns}


def main():
    a = arguments()
    coder, rows = Coder(a.shim, a.peer), []
    data = tensors(a.model, a.rows)
    if not a.json:
        print("%-8s %-24s %10s %10s %7s %9s %8s %8s" % (
            "format", "tensor", "ours", "ggml", "ratio", "weighted", "ns ours", "ns ggml"))
    for name in [f.upper() for f in a.formats] or FORMATS:
        for label, x in data.items():
            rng = np.random.default_rng(1)
            weights = np.exp(a.spread * rng.standard_normal(x.shape[1])).astype(np.float32)
            r = compare(coder, name, label, x, weights)
            rows.append(r)
            if not a.json:
                print("%-8s %-24.24s %10.4e %10.4e %7.4f %9.4f %8.1f %8.1f" % (
                    r["format"], label, r["ours"], r["peer"], r["ratio"], r["weighted_ratio"],
                    r["ours_ns"], r["peer_ns"]))
    if a.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
