"""Prints backends/text/tok_unicode.def: where the libraries inside Hugging Face's tokenizers differ
from Unicode 14 (Python 3.11's unicodedata, the same data as Debian 12's utf8proc), found by asking
them about every code point. Usage: python make_unicode.py > backends/text/tok_unicode.def"""

import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

assert unicodedata.unidata_version == "14.0.0"
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, POINTS))
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
              "Cc Cf Co Cn").split()
HEAD = """\
/* Where Hugging Face's tokenizers differ from Unicode 14, one range a row; printed by
 * tests/tokenizer/make_unicode.py. Their Oniguruma knows Unicode 16 (CATEGORY), Punctuation and the
 * normalisers older versions (PUNCTUATION in or out; NO_: no decomposition, class 0), Lowercase a
 * newer one (LOWER: the image of the first), and scripts have grown (SCRIPT). Define what you need. */
"""
MACROS = [("CATEGORY", "low, high, category"), ("PUNCTUATION", "low, high, in"),
          ("NO_CANONICAL", "low, high"), ("NO_COMPATIBILITY", "low, high"), ("NO_CLASS", "low, high"),
          ("LOWER", "low, high, first"), ("SCRIPT", "low, high, name")]
SCRIPTS = {"Han": [(0x2EBF0, 0x2EE5D), (0x31350, 0x323AF)], "Hiragana": [(0x1B132, 0x1B132)],
           "Katakana": [(0x1B155, 0x1B155)], "Cyrillic": [(0x1E030, 0x1E06D), (0x1E08F, 0x1E08F),
                                                          (0x1C89, 0x1C8A)]}


def members(step):
    """Code points that a step which removes its delimiters removes."""
    kept = set()
    for _, (a, b) in step.pre_tokenize_str(TEXT):
        kept.update(POINTS[a:b])
    return set(POINTS) - kept


def ranges(values, step=lambda v, k: v):
    """Maximal runs (first, last, value of the first); step(v, k) is the value k further on."""
    runs = []
    for c in sorted(values):
        if runs and runs[-1][1] == c - 1 and values[c] == step(runs[-1][2], c - runs[-1][0]):
            runs[-1][1] = c
        else:
            runs.append([c, c, values[c]])
    return runs


def rows(macro, values, show=None, step=lambda v, k: v):
    for a, b, v in ranges(values, step):
        print(f"{macro}(0x{a:04X}, 0x{b:04X}" + (f", {show(v)})" if show else ")"))


def main():
    print(HEAD, end="")
    for name, args in MACROS:
        print(f"#ifndef {name}\n#define {name}({args})\n#endif")
    ours = {c: unicodedata.category(chr(c)) for c in POINTS}
    new = {}
    for k in CATEGORIES:
        for c in members(pre_tokenizers.Split(Regex(r"\p{%s}" % k), "removed")):
            if ours[c] != k:
                new[c] = k
    rows("CATEGORY", new, str.upper)
    theirs = members(pre_tokenizers.Punctuation("removed"))
    mine = {c for c in POINTS if ours[c][0] == "P" or (c < 128 and ours[c][0] == "S")}
    rows("PUNCTUATION", {c: int(c in theirs) for c in theirs ^ mine}, str)
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    no = {c: 1 for c in POINTS
          if nfd.normalize_str(chr(c)) != unicodedata.normalize("NFD", chr(c))}
    rows("NO_CANONICAL", no)
    rows("NO_COMPATIBILITY", {c: 1 for c in POINTS if c not in no and
                              nfkd.normalize_str(chr(c)) != unicodedata.normalize("NFKD", chr(c))})
    blocks = {}  # marks that they take for starters: U+0334 does not move past them
    for c in POINTS:
        text = "q\u0301" + chr(c) + "\u0334"
        if unicodedata.normalize("NFD", chr(c)) == chr(c) and unicodedata.combining(chr(c)) and \
                nfd.normalize_str(text) == text:
            blocks[c] = 1
    rows("NO_CLASS", blocks)
    low = normalizers.Lowercase()
    lower = {c: ord(low.normalize_str(chr(c))) for c in POINTS
             if low.normalize_str(chr(c)) != chr(c).lower()}
    rows("LOWER", lower, lambda v: f"0x{v:04X}", lambda v, k: v + k)
    for name, spans in SCRIPTS.items():
        theirs = members(pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed"))
        for a, b in spans:
            assert all(c in theirs for c in range(a, b + 1)), (name, a)
            print(f"SCRIPT(0x{a:04X}, 0x{b:04X}, {name})")
    for name, _ in MACROS:
        print(f"#undef {name}")


main()
