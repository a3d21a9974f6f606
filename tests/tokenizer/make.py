"""Makes the fixtures of tests/tokenizer: small tokenizers of every kind that the families
use, trained here, and for each the ids and texts that Hugging Face's fast classes give for hostile
strings. Training isn't byte-reproducible across versions: the results are committed.

Usage: python make.py [NAME..]    (tokenizers 0.22, transformers 4.57)

NAME/tokenizer.json, tokenizer_config.json, and cases.jsonl with a line a case: {"text", "pair"?,
"ids" (special tokens added), "plain" (none added), "text_skip", "text_all"} (decoded ids, without and
with special tokens)."""

import json
import pathlib
import random
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
P, N = pre_tokenizers, normalizers

CORPUS = """\
The compiler reads a model and writes one program. It's small, it's fast, and we've measured it: 1234
tokens in 56 ms. They'll say it can't be done; I'd say it's done. "Hello, world!" he said... Don't
stop: you're the one who'll see what they've made.  Two  spaces,   three.\tA tab.
def tokenize(text: str) -> list[int]:
    for i in range(len(text)):
        if text[i] == '\\n':
            return [0] * 128
int main(void) { printf("%d\\n", 42); return 0; } // comment -- === +++
Der schnelle Fuchs überspringt den faulen Hund. Größe, Straße, Äpfel. L'été à la plage, ça va très
bien, où êtes-vous né? El niño comió piñas. Zażółć gęślą jaźń. Příliš žluťoučký kůň.
Быстрая коричневая лиса перепрыгивает через ленивую собаку. Η γρήγορη αλεπού πηδάει.
敏捷的棕色狐狸跳过懒狗。今日はいい天気ですね。カタカナとひらがな。안녕하세요 세계. 한국어 문장입니다.
مرحبا بالعالم. שלום עולם. नमस्ते दुनिया. สวัสดีชาวโลก. 😀😃🎉👍🏽👨‍👩‍👧 🇩🇪
""" * 4

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|"
          r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|"
          r"\s++$|\s*[\r\n]|\s+(?!\S)|\s")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
             r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = P.ByteLevel(add_prefix_space=False, use_regex=False)


def split(pattern, behavior="isolated", invert=False):
    return P.Split(Regex(pattern), behavior, invert)


def special(text, **flags):
    return AddedToken(text, special=True, normalized=flags.pop("normalized", False), **flags)


def bos_template(bos, eos=None):  # fix_ids sets the ids
    tail = f" {eos}" if eos else ""
    tokens = [(bos, 0)] + ([(eos, 1)] if eos else [])
    return processors.TemplateProcessing(single=f"{bos} $A{tail}",
                                         pair=f"{bos} $A{tail} {bos} $B:1{tail}",
                                         special_tokens=tokens)


FLAGS = [AddedToken("<both>", lstrip=True, rstrip=True), AddedToken("<left>", lstrip=True),
         AddedToken("<right>", rstrip=True), AddedToken("word", single_word=True),
         AddedToken("naïve", normalized=True), AddedToken("Cafe\u0301", normalized=True),
         AddedToken("RAW", normalized=False), AddedToken("aa", normalized=False),
         AddedToken("aab", normalized=False), AddedToken("  ", normalized=False),
         AddedToken("ø", normalized=False), special("<|im_end|>"), special("<s>", rstrip=True),
         special("<mask>", lstrip=True), AddedToken("é", single_word=True, normalized=True)]
IM = [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")]

# name: (normalizer, pre-tokenizer, added tokens, post-processor, more)
KINDS = {
    "gpt2": (None, P.ByteLevel(add_prefix_space=False), [special("<|endoftext|>")],
             processors.ByteLevel(trim_offsets=False), {}),
    "roberta": (None, P.ByteLevel(add_prefix_space=True),
                [special("<s>"), special("</s>"), special("<mask>", lstrip=True)],
                processors.RobertaProcessing(sep=("</s>", 1), cls=("<s>", 0)), {}),
    "llama3": (None, P.Sequence([split(LLAMA3), BYTES]),
               [special("<|begin_of_text|>"), special("<|eot_id|>")],
               processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                    bos_template("<|begin_of_text|>")]),
               {"ignore_merges": True, "clean": True}),
    "qwen2": (N.NFC(), P.Sequence([split(QWEN2), BYTES]), IM + [AddedToken("<tool_call>")], None, {}),
    "qwen35": (N.NFC(), P.Sequence([split(QWEN35), BYTES]), IM, None, {}),
    "smollm": (None, P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)]), IM, None,
               {"holes": True}),
    "starcoder": (None, P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)]),
                  [special("<fim_prefix>"), special("<file_sep>")], None, {"holes": True}),
    "deepseek-llm": (None, P.Sequence([
        split("[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+"),
        split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"), split("[一-龥ࠀ-一가-퟿]+"),
        P.Digits(True), BYTES]), [AddedToken("ø"), AddedToken("ÿ"), special("<eos>")],
        bos_template("<eos>"), {}),
    "deepseek3": (N.Sequence([]), P.Sequence([split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"),
                                              split(DEEPSEEK3), BYTES]),
                  [special("<｜begin▁of▁sentence｜>"), special("<｜end▁of▁sentence｜>")],
                  bos_template("<｜begin▁of▁sentence｜>"), {}),
    "falcon": (None, P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False),
                                 P.Digits(False), split("[0-9][0-9][0-9]")]),
               [special(">>TITLE<<"), special("<|endoftext|>")], None, {"holes": True}),
    "o200k": (None, P.Sequence([split(O200K), BYTES]), [special("<|endoftext|>")], None, {}),
    "cl100k": (None, P.Sequence([split(CL100K), BYTES]), [special("<|endoftext|>")], None, {}),
    "flags": (N.NFC(), P.ByteLevel(add_prefix_space=True), FLAGS, bos_template("<s>", "<|im_end|>"), {}),
    "normal": (N.Sequence([N.NFKC(), N.Lowercase(), N.Replace(Regex(r"\s+"), " "), N.Replace("x", "yz"),
                           N.Strip(left=True, right=True), N.Prepend("_")]),
               P.ByteLevel(add_prefix_space=False), FLAGS, None, {}),
    "decomposed": (N.NFD(), P.Sequence([split(r"\p{M}", "merged_with_previous"), BYTES]), [], None, {}),
    "compat": (N.NFKD(), P.Sequence([P.Whitespace(), BYTES]), [AddedToken("ﬁ", normalized=True)], None, {}),
    "splits": (None, P.Sequence([
        P.Split(" ", "merged_with_next"), split("-", "removed"), split(r"\d", "contiguous"),
        split("[aeiou]+", "merged_with_previous", True), P.Split("..", "isolated"),
        split(r"\bth|(?<=[.,])\s|(?<!\d)0|^#", "isolated"), split("[A-Z]", "merged_with_next", True),
        BYTES]), [], None, {"unk": "<unk>", "holes": True}),
    "scripts": (None, P.Sequence([
        split(r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
              r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
              r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
        split(r"\p{Hiragana}+|\p{Katakana}+|\p{Cyrillic}{2,}?"), BYTES]), [], None, {}),
}

# SentencePiece BPE, as Transformers converts it: name: (normalizer, pre-tokenizer, decoder, byte fallback)
LEGACY = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                            decoders.Strip(" ", 1, 0)])
SPM_KINDS = {
    "llama2": (N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), None, LEGACY, True),
    "mistral": (None, P.Metaspace("▁", prepend_scheme="first", split=False), LEGACY, True),
    "gemma": (N.Replace(" ", "▁"), None, decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                                          decoders.Fuse()]), True),
    "metaspace": (N.NFKC(), P.Sequence([P.Digits(True), P.Metaspace("▁", prepend_scheme="always")]),
                  decoders.Metaspace("▁", prepend_scheme="always"), False),
}

# WordPiece: name: (normalizer, post-processor, decoder, settings of BertTokenizerFast or None for the plain class)
BERT_TEMPLATE = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                              special_tokens=[("[CLS]", 0), ("[SEP]", 1)])  # fix_ids sets the ids
WORDPIECE_KINDS = {
    "bert-uncased": (N.BertNormalizer(), BERT_TEMPLATE, decoders.WordPiece(), {"do_lower_case": True}),
    "bert-cased": (N.BertNormalizer(lowercase=True), BERT_TEMPLATE, decoders.WordPiece(cleanup=False),
                   {"do_lower_case": False, "tokenize_chinese_chars": False}),
    "wordpiece": (N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase(), N.BertNormalizer(lowercase=False, strip_accents=False)]),
                  None, None, None),
}

HAND = [
    "", " ", "  ", "   ", "\n", "\r\n", "\n\n \n", "a", "Hello, world!", " Hello  world ", "it's IT'S it'S I'Ll",
    "don't you've we're I'm he'd she'll 'twas 'ſ K's", "12", "123", "1234567890", "3.14159 1,000,000 ١٢٣٤ ①②③ ½¾²³¹",
    "     indented\n\t\ttabs\n", "line one\nline two\r\nline three\r", "trailing spaces   ", "   \n   x", "a  b   c    d",
    "tabs\t\tand\x0bvertical\x0cfeed", "\x00", "a\x00b", "\x01\x02\x1f\x7f\x80\x9f", "\ufeffBOM", "soft\xadhyphen",
    "no\u00a0break\u2003em\u3000ideographic\u2028line\u2029para\u0085nel", "zero\u200bwidth\u200cjoin\u200ders\u2060",
    "e\u0301 é e\u0301\u0323 e\u0323\u0301 q\u0307\u0323 \u0301start", "ｆｕｌｌ　ｗｉｄｔｈ ﬁ ﬂ ﬃ ſt ㎏ ① Ⅷ ª º ™ …",
    "Å Å A\u030a Ω Ω K ⁄ ½", "가 \u1100\u1161 각 \u1100\u1161\u11a8 가\u11a8 \u1161 \u11a8 \uac00\uac01\ud7a3",
    "\u0915\u093c \u0958 \u09c7\u09be \u0b47\u0b56 \u0dd9\u0dca\u0dcf", "שָׁלוֹם שּׁ \u05e9\u05bc\u05c1 مُحَمَّد \u0651\u064e",
    "عربي مختلط with English ١٢٣ و 456", "\u202eright to left\u202c", "नमस्ते क्षत्रिय", "สวัสดี ที่นี่", "ไทย1ไทย",
    "敏捷的棕色狐狸。「引用」、全角！？", "日本語とカタカナ混じりの文章123です", "한국어 문장 띄어쓰기", "漢字かなカナ한글кириллица",
    "😀", "😀😃🎉", "👨‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☺️ 1️⃣", "a😀b😀 c", "\U0001f1e6\U0001f1e7\U0001f1e8",
    "\U00020000\U0002a700 \U0002ebf0 \U00031350 \U000323af", "\U0010ffff \ue000 \ufdd0 \uffff \ufffd", "\U0001e030 \u1c89 \ua7cb",
    "def f(x):\n    return x**2  # square\n\n\nprint(f(10))", "if (a && b || !c) { x += y->z; } /* c */ // d",
    "<html>&nbsp;</html> {\"k\": [1, 2.5e-3]}", "https://example.com/a?b=c&d=%20#e", "user.name+tag@mail.co.uk",
    "C:\\Users\\x\\n", "$100 €50 £5 ¥1000 ₿", "a+b=c±d×e÷f≠g≤h∞", "--- === *** ___ ~~~ ```", "!!!???...,,,;;;:::",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababababababababab", "AbCdEfGhIjK lMnOp",
    "CamelCaseWords and snake_case_words and kebab-case-words SCREAMING_CASE", "McDonald's O'Neill's 'quoted' ‘curly’ “double”",
    "naïve word words sword word! word_ (word) wordé 中word word1 a-word-b", "x word  word\tword\nword",
    "a <both> b<left> c <left>d<right> e  <right>  f <both><both>  <both>", "<left> <left>  <right>  <right>",
    "RAW raw xRAWx aaab aab aaaab aa ab", "Cafe\u0301 Café cafe\u0301 CAFÉ é éé (é) xé", "sø ø øø mø̈d",
    "<s> text </s> <mask> x<mask>y  <mask>  z", "<|im_end|> a<|im_end|>b <|im_end|><|im_end|>", "<|im_start|>user\nHi<|im_end|>\n",
    "<|endoftext|>", "text<|endoftext|>text", "<|endoftext", "<|begin_of_text|>x<|eot_id|> <|eot_id|>", "<tool_call>{}</tool_call> <TOOL_CALL>",
    ">>TITLE<<x>>TITLE<", "<｜begin▁of▁sentence｜>a<｜end▁of▁sentence｜>", "<fim_prefix>a<file_sep>", "<unk> <eos> <pad>",
    " .dot ,comma ?q !e ' a ' n't 'm 's 've 're do n't he 's . , ", "the then ,a .b 0 10 x0 #tag\n#tag 0.0,0",
    "\u0378 \u0e00 unassigned \U000e0001 tag \U000e0020", "ß ẞ İ ı ŉ ǰ ΐ ſ Ǆ ǅ ǆ ΑΣ Σ", "ⅷ Ⅷ ⓐ Ⓐ 🅰 ㊀ ㍿", "\u0345\u0399 \u1fb3 \u0344 \u0958 \u2126",
    "x" * 70 + " " * 70 + "\n" * 70 + "1" * 70, " \t \n \r \x0b \x0c ", "é" * 20 + "e\u0301" * 20, "a" + "\u0301" * 40 + "\u0323" * 40,
]


def strings(seed):
    rng = random.Random(seed)
    pools = [" \t\n\r", "abcdefgh", "'sStTlLdDmMvVrReE", "0123456789٣", "éüßñøÅ", "!?.,-_#/(){}", "漢字かなカナ한", "\u0301\u0323\u0334\u1161\u11a8",
             "😀👍🏽\u200d\ufe0f", "אבגمح\u05bc\u064e", "\u00a0\u2028\u3000\u0085", "ФыΣσς", "\x00\x0b\x7f\u00ad", "word", "XYZ"]
    out = list(HAND)
    for _ in range(60):
        some = rng.sample(pools, rng.randint(1, 4))
        out.append("".join(rng.choice(rng.choice(some)) for _ in range(rng.randint(1, 24))))
    return out


def train(name):
    normalizer, pre, added, post, more = KINDS[name]
    tok = Tokenizer(models.BPE(unk_token=more.get("unk")))
    if normalizer is not None:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    first = [t.content for t in added if t.special] + ([more["unk"]] if "unk" in more else [])
    alphabet = [] if more.get("holes") else P.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, min_frequency=2, special_tokens=first, show_progress=False,
                                  initial_alphabet=alphabet)
    tok.train_from_iterator(CORPUS.split("\n"), trainer)
    tok.add_special_tokens([t for t in added if t.special])
    tok.add_tokens([t for t in added if not t.special])
    if post is not None:
        tok.post_processor = post
    data = json.loads(tok.to_str())
    if post is not None:  # ids of the template's tokens, now that they are known
        fix_ids(data["post_processor"], tok)
    if more.get("ignore_merges"):
        data["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(data)), data, more


def train_spm(name):
    normalizer, pre, decoder, fallback = SPM_KINDS[name]
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=fallback))
    tok.normalizer, tok.pre_tokenizer = normalizer or N.Sequence([]), P.Metaspace("▁")
    first = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if fallback else [])
    tok.train_from_iterator(CORPUS.split("\n"), trainers.BpeTrainer(
        vocab_size=len(first) + 500, min_frequency=2, special_tokens=first, show_progress=False))
    data = json.loads(tok.to_str())
    data["added_tokens"] = data["added_tokens"][:3]
    tok = Tokenizer.from_str(json.dumps(data))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = normalizer, pre, decoder
    tok.add_tokens([AddedToken("<|user|>", normalized=False, rstrip=True), AddedToken("word", normalized=True)])
    tok.post_processor = bos_template("<s>")
    data = json.loads(tok.to_str())
    fix_ids(data["post_processor"], tok)
    return Tokenizer.from_str(json.dumps(data)), data, {}


def train_wordpiece(name):
    normalizer, post, decoder, settings = WORDPIECE_KINDS[name]
    first = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100 if settings else 12))
    tok.normalizer, tok.pre_tokenizer = normalizer, P.BertPreTokenizer()
    tok.train_from_iterator(CORPUS.split("\n"), trainers.WordPieceTrainer(vocab_size=700, min_frequency=2, special_tokens=first,
                                                                          show_progress=False))
    if decoder is not None:
        tok.decoder = decoder
    data = json.loads(tok.to_str())
    if post is not None:
        data["post_processor"] = json.loads(post.__getstate__())
        fix_ids(data["post_processor"], tok)
    return Tokenizer.from_str(json.dumps(data)), data, {"bert": settings}


def fix_ids(node, tok):
    if isinstance(node, dict):
        for key, value in (node.get("special_tokens") or {}).items():
            value["ids"] = [tok.token_to_id(key)]
        for value in node.values():
            fix_ids(value, tok)
    elif isinstance(node, list):
        for value in node:
            fix_ids(value, tok)


def main(names):
    for name in names or [*KINDS, *SPM_KINDS, *WORDPIECE_KINDS]:
        tok, data, more = (train if name in KINDS else train_spm if name in SPM_KINDS else train_wordpiece)(name)
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
        settings, kind = more.get("bert"), BertTokenizerFast if more.get("bert") else PreTrainedTokenizerFast
        config = {**(settings or {}), "tokenizer_class": kind.__name__, "clean_up_tokenization_spaces": bool(more.get("clean")),
                  "add_prefix_space": bool((data["pre_tokenizer"] or {}).get("add_prefix_space"))}
        (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
        fast = kind(tokenizer_object=tok, **{k: v for k, v in config.items() if k != "tokenizer_class"})
        lines = []
        texts = strings(name)
        for i, text in enumerate(texts):
            pair = texts[(i * 7 + 3) % len(texts)] if i % 5 == 4 else None
            ids = fast(text, pair)["input_ids"] if pair is not None else fast(text)["input_ids"]
            plain = fast(text, pair, add_special_tokens=False)["input_ids"] if pair is not None else \
                fast(text, add_special_tokens=False)["input_ids"]
            case = {"text": text, **({"pair": pair} if pair is not None else {}), "ids": ids, "plain": plain,
                    "text_skip": fast.decode(ids, skip_special_tokens=True), "text_all": fast.decode(ids)}
            lines.append(json.dumps(case, ensure_ascii=False, separators=(",", ":")))
        (folder / "cases.jsonl").write_text("\n".join(lines) + "\n")
        print(name, len(data["model"]["vocab"]), len(lines), (folder / "tokenizer.json").stat().st_size,
              (folder / "cases.jsonl").stat().st_size)


main(sys.argv[1:])
