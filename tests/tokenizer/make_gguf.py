#!/usr/bin/env python3
"""Makes the fixture gemma-gguf: a vocabulary-only GGUF as converters write Gemma 3's, and its cases.

SentencePiece BPE with scores in place of merges; added tokens have lost their score (-1000) and their lower blocks (runs
of spaces). The reference is Hugging Face's BPE with the merges that Transformers derives from the true scores.
Needs tokenizers and gguf; vocabulary and texts come from the fixture gemma beside it."""
import json
import pathlib

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

HERE = pathlib.Path(__file__).resolve().parent
CONTROL, USER, NORMAL, BYTE = 3, 4, 1, 6


def vocabulary():
    """[(piece, score, type)]: what SentencePiece has."""
    data = json.loads((HERE / "gemma/tokenizer.json").read_text(encoding="utf-8"))
    first = [("<pad>", 0, CONTROL), ("<eos>", 0, CONTROL), ("<bos>", 0, CONTROL), ("<unk>", 0, CONTROL), ("[multimodal]", 0, USER),
             ("<start_of_turn>", 0, CONTROL)]
    first += [("\n" * n, 0, USER) for n in range(1, 8)] + [("▁" * n, 0, USER) for n in range(2, 8)] + [("<b>", 0, USER)]
    first += [(f"<0x{b:02X}>", 0, BYTE) for b in range(256)]
    known = {piece for piece, _, _ in first}
    made = ["".join(m.split(" ") if isinstance(m, str) else m) for m in data["model"]["merges"]]
    letters = sorted(set(data["model"]["vocab"]) - set(made) - known - {t["content"] for t in data["added_tokens"]})
    pieces = [p for p in dict.fromkeys(made + letters) if p not in known and not (p.startswith("<0x") and len(p) == 6)]
    return first + [(piece, -i, NORMAL) for i, piece in enumerate(pieces)]


def merges(vocab):
    ids, out = {piece: i for i, (piece, _, _) in enumerate(vocab)}, []
    for piece, score, _ in vocab:
        cuts = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in ids and piece[k:] in ids]
        out += [(a, b, score) for a, b in sorted(cuts, key=lambda c: (ids[c[0]], ids[c[1]]))]
    out.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return ids, [(a, b) for a, b, _ in out]


def reference(vocab):
    ids, pairs = merges(vocab)
    tok = Tokenizer(models.BPE(ids, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tok.add_tokens([AddedToken(p, normalized=False, special=kind == CONTROL) for p, _, kind in vocab if kind in (CONTROL, USER)])
    tok.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
    return tok


def write(vocab, path):
    w = gguf.GGUFWriter(path, "gemma3")
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list([p.replace("▁", " ") if kind == USER else p for p, _, kind in vocab])
    w.add_token_scores([-1000.0 if kind in (CONTROL, USER) else float(score) for _, score, kind in vocab])
    w.add_token_types([kind for _, _, kind in vocab])
    w.add_bos_token_id(2)
    w.add_eos_token_id(1)
    w.add_unk_token_id(3)
    w.add_pad_token_id(0)
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(False)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    folder, vocab = HERE / "gemma-gguf", vocabulary()
    folder.mkdir(exist_ok=True)
    write(vocab, folder / "model.gguf")
    tok = reference(vocab)
    lines = (HERE / "gemma/cases.jsonl").read_text(encoding="utf-8").split("\n")
    texts = [json.loads(line)["text"] for line in lines if line]
    texts += ["▁▁▁ a", "  ▁ ▁▁  ", "a" + " " * 20 + "b" + "\n" * 17, "<b>  <start_of_turn>user\n\n\nx[multimodal]<b>", "   the   of\n  \n  x"]
    with open(folder / "cases.jsonl", "w", encoding="utf-8") as f:
        for text in dict.fromkeys(texts):
            ids = tok.encode(text).ids
            plain = tok.encode(text, add_special_tokens=False).ids
            case = {"text": text, "ids": ids, "plain": plain, "text_skip": tok.decode(ids, skip_special_tokens=True),
                    "text_all": tok.decode(ids, skip_special_tokens=False)}
            f.write(json.dumps(case) + "\n")
    print(len(vocab), len(texts))


if __name__ == "__main__":
    main()
