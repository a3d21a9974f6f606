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
 * newer one (LOWER: the image of the first), and scripts have grown (SCRIPT). BertNormalizer drops other
 * controls (CONTROL) and nonspacing marks (NONSPACING), StripAccents other marks (MARK), 1: in, 0: out.
 * Define what you need. */
"""
MACROS = [("CATEGORY", "low, high, category"), ("PUNCTUATION", "low, high, in"),
          ("NO_CANONICAL", "low, high"), ("NO_COMPATIBILITY", "low, high"), ("NO_CLASS", "low, high"),
          ("LOWER", "low, high, first"), ("SCRIPT", "low, high, name"), ("CONTROL", "low, high, in"), ("NONSPACING", "low, high, in"),
          ("MARK", "low, high, in")]
SCRIPTS = """
Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali
Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian
Chakma Cham Cherokee Chorasmian Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari
Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic
Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew
Hiragana Imperial_Aramaic Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada
Katakana Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu
Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen
Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi
Mongolian Mro Multani Myanmar Nabataean Nandinagari New_Tai_Lue Newa Nko Nushu
Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic
Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong
Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada
Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac
Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan
Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square
""".split()


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


def dropped(normalizer, points):
    """Code points that a normalizer drops."""
    return {c for c in points if normalizer.normalize_str("a" + chr(c) + "b") == "ab"}


def bert(**on):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **on})


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
    for name in SCRIPTS:
        theirs = members(pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed"))
        rows("SCRIPT", {c: name for c in theirs if c in new}, str)
    now = {c: new.get(c, ours[c]) for c in POINTS}
    whole = [c for c in POINTS if nfd.normalize_str(chr(c)) == chr(c)]  # marks come decomposed
    for macro, theirs, mine in (
            ("CONTROL", dropped(bert(clean_text=True), POINTS),
             {c for c in POINTS if (now[c] in ("Cc", "Cf", "Co") and c not in (9, 10, 13)) or c == 0xFFFD}),
            ("NONSPACING", dropped(bert(strip_accents=True), whole), {c for c in whole if now[c] == "Mn"}),
            ("MARK", dropped(normalizers.StripAccents(), whole), {c for c in whole if now[c][0] == "M"})):
        rows(macro, {c: int(c in theirs) for c in theirs ^ mine}, str)
    for name, _ in MACROS:
        print(f"#undef {name}")


main()
