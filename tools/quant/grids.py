#!/usr/bin/env python3
"""Prints ir/quant/grids.c: the codebooks of the iq1, iq2 and iq3 formats.

Source: the public gguf package (gguf/quants.py), which carries ggml's codebooks as facts of the
formats. A point is one integer, digit i (an index of its coordinate's levels) at bit i * 2 or, of
iq3, i * 3; so written, every codebook is ascending, which this script checks.

  python3 tools/quant/grids.py > ir/quant/grids.c
"""
import gguf.quants as quants

HEAD = """/* The codebooks of the iq formats; made by tools/quant/grids.py, see grid.h.
 *
 * Facts of the formats, as the public gguf package states them. A point is an integer whose digit i
 * (of 2 bits, of iq3 3) says which level coordinate i has; points ascend, their place is their
 * number in a file.
 */
#include "ir/quant/grid.h"
"""
GRIDS = (("iq2_xxs", "IQ2_XXS"), ("iq2_xs", "IQ2_XS"), ("iq2_s", "IQ2_S"),
         ("iq3_xxs", "IQ3_XXS"), ("iq3_s", "IQ3_S"), ("iq1", "IQ1_S"))


def points(cls):
    cls.init_grid()
    count, dims = cls.grid_shape
    bits = 2 if dims == 8 else 3
    level = {float(v): i for i, v in enumerate(cls.grid_map)}
    rows = cls.grid.reshape(count, dims)
    keys = [sum(level[float(v)] << (bits * i) for i, v in enumerate(row)) for row in rows]
    if keys != sorted(set(keys)):
        raise SystemExit(cls.__name__ + ": the codebook does not ascend")
    return keys, dims, bits


def table(ctype, name, words):
    per = 92 // (max(map(len, words)) + 1)
    print("\nstatic const %s %s[%d] = {" % (ctype, name, len(words)))
    for i in range(0, len(words), per):
        print("    " + " ".join(words[i:i + per]))
    print("};")


print(HEAD, end="")
for name, cls in GRIDS:
    keys, dims, bits = points(getattr(quants, cls))
    width = (dims * bits + 3) // 4
    half = dims * bits // 2
    halves = 176 if bits == 2 else 64
    runs = [sum(k >> half < h for k in keys) for h in range(halves + 1)]
    table("uint16_t", name + "_points", ["0x%0*x," % (width, k) for k in keys])
    table("uint16_t", name + "_runs", ["%d," % r for r in runs])
    print("const Grid grid_%s = {%s_points, %s_runs, %d, %d, %d, %d};" %
          (name, name, name, len(keys), halves, dims, bits))
