#!/usr/bin/env python3
"""Coefficients of the polynomials in passes/math/: prints passes/math/coefficients.h.

Remez exchange on a dense grid of Chebyshev points, functions evaluated by mpmath at 50 digits.
Coefficients are rounded to f32 one after another, lowest power first, and those still free are
fitted again after each, so that rounding costs next to nothing. The error printed beside each
polynomial is the largest weighted one of the rounded polynomial, evaluated exactly; the weight
makes it the relative error of the function that it serves.

    python3 tools/math/minimax.py > passes/math/coefficients.h      (needs numpy and mpmath)
"""
import mpmath as mp
import numpy as np

mp.mp.dps = 50


def exchange(x, f, w, powers):
    """Minimax coefficients of `powers` for f with weight w on the grid x."""
    n = len(powers)
    basis = np.stack([x**p for p in powers], axis=1)
    nodes = np.round((1 - np.cos(np.pi * np.arange(n + 1) / n)) / 2 * (len(x) - 1)).astype(int)
    best = None
    for _ in range(60):
        signs = (-1.0) ** np.arange(n + 1)
        a = np.column_stack([basis[nodes], signs / w[nodes]])
        c = np.linalg.solve(a, f[nodes])[:n]
        err = w * (f - basis @ c)
        worst = np.abs(err).max()
        if best is None or worst < best[0]:
            best = (worst, c)
        cuts = np.flatnonzero(np.sign(err[1:]) * np.sign(err[:-1]) < 0) + 1
        peaks = [s[np.argmax(np.abs(err[s]))] for s in np.split(np.arange(len(x)), cuts)]
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(err[peaks[0]]) < abs(err[peaks[-1]]) else -1)
        if len(peaks) < n + 1 or np.array_equal(peaks, nodes):
            break
        nodes = np.array(peaks)
    return best


def fit(function, weight, lo, hi, degree):
    """f32 coefficients, lowest power first, and their largest weighted error."""
    points = [(mp.mpf(lo) + mp.mpf(hi)) / 2 - (mp.mpf(hi) - mp.mpf(lo)) / 2 * mp.cos(mp.pi * (k + 0.5) / 2000)
              for k in range(2000)]
    x = np.array([float(p) for p in points])
    f = np.array([float(function(p)) for p in points])
    w = np.array([float(weight(p)) for p in points])
    fixed, rest = [], f.copy()
    for power in range(degree + 1):
        _, c = exchange(x, rest, w, list(range(power, degree + 1)))
        fixed.append(float(np.float32(c[0])))
        rest = rest - fixed[-1] * x**power
    return fixed, np.abs(w * rest).max()


def emit(name, what, function, weight, lo, hi, degree, before=()):
    """`before`: coefficients that stand before the fitted ones, as they are."""
    c, err = fit(function, weight, lo, hi, degree)
    c = [*before, *c]
    print(f"/* {what}; error 2^{np.log2(err):.1f} */")
    print(f"static const float {name}[] = {{")
    print("\n".join("    %.9gf," % v if "." in "%.9g" % v or "e" in "%.9g" % v else "    %.9g.0f," % v
                    for v in c))
    print("};\n")


def parts(name, what, value, bits):
    """`value` as a sum of floats of so many bits each: exact to the sum of them."""
    out, rest = [], mp.mpf(value)
    for b in bits:
        e = int(mp.floor(mp.log(abs(rest), 2)))
        p = mp.nint(rest * mp.mpf(2) ** (b - 1 - e)) / mp.mpf(2) ** (b - 1 - e)
        out.append(float(p))
        rest -= p
    print(f"/* {what}, in parts; the rest is {float(rest):.2g} */")
    print(f"static const float {name}[] = {{" + ", ".join("%.9gf" % v for v in out) + "};\n")


def main():
    print("""/* Coefficients of passes/math: made by tools/math/minimax.py, which see; not edited by hand.
 *
 * Lowest power first. An error is the largest relative one of the function, before the rounding of
 * the arithmetic.
 */
#ifndef INGOT_PASSES_MATH_COEFFICIENTS_H
#define INGOT_PASSES_MATH_COEFFICIENTS_H
""")
    half = mp.log(2) / 2 * mp.mpf("1.0001")
    series = mp.taylor(mp.exp, 0, 25)
    emit("exp_tail", "(exp(r) - 1 - r) / r^2, |r| <= ln(2)/2",
         lambda r: sum(series[k] * r ** (k - 2) for k in range(2, 25)),
         lambda r: r * r / mp.exp(r), -half, half, 4)
    parts("ln2", "ln(2)", mp.log(2), [15, 24])

    power = mp.taylor(lambda r: mp.mpf(2) ** r, 0, 25)
    rest = lambda r: sum(power[k] * r ** (k - 1) for k in range(1, 25))
    emit("exp2_whole", "2^r, |r| <= 1/2, 1 at 0", rest, lambda r: r / mp.mpf(2) ** r, -0.5, 0.5, 5, [1])
    emit("exp2_short", "The same; absolute", rest, lambda r: r, -0.5, 0.5, 3, [1])
    emit("exp2_near", "2^r, |r| <= 1/2", lambda r: mp.mpf(2) ** r, lambda r: mp.mpf(2) ** -r, -0.5, 0.5, 5)

    log_tail = lambda f: (mp.log1p(f) - f + f * f / 2) / f**3
    emit("log_tail", "(log(1 + f) - f + f^2/2) / f^3, sqrt(1/2) <= 1 + f <= sqrt(2)",
         log_tail, lambda f: f**3 / mp.log1p(f), mp.sqrt(0.5) - 1, mp.sqrt(2) - 1, 8)

    emit("tanh_tail", "(tanh(x) - x) / x^3 in x^2, |x| <= 0.625",
         lambda t: (mp.tanh(mp.sqrt(t)) - mp.sqrt(t)) / mp.sqrt(t)**3,
         lambda t: mp.sqrt(t)**3 / mp.tanh(mp.sqrt(t)), 0, mp.mpf("0.625")**2, 4)

    emit("erf_near", "erf(x) / x - 1 in x^2, |x| <= 0.8",
         lambda t: mp.erf(mp.sqrt(t)) / mp.sqrt(t) - 1,
         lambda t: mp.sqrt(t) / mp.erf(mp.sqrt(t)), 0, mp.mpf("0.64"), 5)
    emit("erf_far", "log2(1 - erf(x)), 0.8 <= x <= 4",
         lambda a: mp.log(mp.erfc(a), 2), lambda a: mp.log(2) * mp.erfc(a) / mp.erf(a), mp.mpf("0.8"), 4, 6)
    below = lambda a: mp.erfc(a / mp.sqrt(2)) / 2
    emit("gelu_tail", "log2((1 - erf(x / sqrt 2)) / 2), 0 <= x <= 5.6; of that without log2, times max(x, 1/2)",
         lambda a: mp.log(below(a), 2), lambda a: mp.log(2) * below(a) * max(a, mp.mpf(0.5)), 0, mp.mpf("5.6"), 8)

    quarter = mp.pi / 4 * mp.mpf("1.001")
    emit("sin_tail", "(sin(r) - r) / r^3 in r^2, |r| <= pi/4",
         lambda t: (mp.sin(mp.sqrt(t)) - mp.sqrt(t)) / mp.sqrt(t)**3,
         lambda t: mp.sqrt(t)**3 / mp.sin(mp.sqrt(t)), 0, quarter**2, 3)
    emit("cos_tail", "(cos(r) - 1 + r^2/2) / r^4 in r^2, |r| <= pi/4",
         lambda t: (mp.cos(mp.sqrt(t)) - 1 + t / 2) / t**2,
         lambda t: t**2 / mp.cos(mp.sqrt(t)), 0, quarter**2, 2)
    parts("half_pi", "pi/2", mp.pi / 2, [24, 24, 24])
    print("#endif")


main()
