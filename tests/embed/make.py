#!/usr/bin/env python3
"""Makes the sentence-transformers fixture of tests/embed: a tiny BERT behind the bert-uncased tokenizer of tests/tokenizer,
pooled by cls and mean (one behind the other), to length one, texts cut to 16 tokens. cases.jsonl has {"text", "vector"} by
Transformers and the formulas of sentence-transformers. Needs torch, transformers."""
import json
import pathlib
import shutil

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

HERE = pathlib.Path(__file__).parent
TEXTS = ["", "Hello, world!", "The compiler reads a model and writes one program.", "été à la plage", "敏捷的棕色狐狸",
         "a " * 40, "Don't stop: you're the one who'll see", "x [SEP] y", "\u0000\n\t ", "Größe, Straße"]


def main():
    torch.manual_seed(5)
    folder = HERE / "model"
    shutil.rmtree(folder, ignore_errors=True)
    config = BertConfig(vocab_size=656, hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3,
                        max_position_embeddings=24, attn_implementation="eager")
    model = BertModel(config).eval()
    for p in model.parameters():
        p.data = (p.data + torch.randn(p.shape) * 0.2).half().float()
    model.half().save_pretrained(folder)
    model = model.float()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(HERE.parent / "tokenizer/bert-uncased" / name, folder / name)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(json.dumps(
        [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{k}"} for i, (p, k) in enumerate(kinds)]))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}\n')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(
        {"word_embedding_dimension": 36, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True,
         "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}))
    tok = BertTokenizerFast.from_pretrained(folder)
    with open(HERE / "cases.jsonl", "w", encoding="utf-8") as f, torch.no_grad():
        for text in TEXTS:
            states = model(**tok(text, return_tensors="pt", truncation=True, max_length=16)).last_hidden_state[0]
            vector = torch.cat([states[0], states.mean(0)])
            f.write(json.dumps({"text": text, "vector": (vector / vector.norm()).tolist()}) + "\n")


main()
