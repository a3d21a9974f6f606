#!/usr/bin/env python3
"""Makes the fixtures of encoders: make_encoders.py OUT_DIR [NAME..]

Tiny seeded BERT models with every output of Transformers' forward() recorded (float32, eager attention). Weights are
drawn anew, so that positions, segments, masks and biases all show. Tolerance: 20 times the distance between the float32
and the float64 run, at least 1e-5 of the largest output. The layout is that of make.py. Needs torch, transformers."""
import copy
import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import (BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertForSequenceClassification,
                          BertForTokenClassification, BertModel)

BASE = dict(hidden_size=48, intermediate_size=76, num_hidden_layers=2, num_attention_heads=4, vocab_size=99, max_position_embeddings=80,
            type_vocab_size=2)
# mask: which of the 2 rows' tokens are hidden; names: how the file names its tensors
CASES = {
    "pooler-left": dict(model=BertModel, hide=slice(0, 5)),
    "gamma-beta": dict(model=BertModel, names="old", config=dict(hidden_act="relu", num_attention_heads=3)),
    "no-pooler-long": dict(model=BertModel, pooler=False, tokens=77, hide=slice(69, 77), config=dict(hidden_size=40, num_attention_heads=2)),
    "mlm-untied": dict(model=BertForMaskedLM, hide=slice(15, 19), config=dict(tie_word_embeddings=False, hidden_act="gelu_new")),
    "mlm-positions": dict(model=BertForMaskedLM, positions=True, config=dict(layer_norm_eps=1e-5)),
    "seqcls-long": dict(model=BertForSequenceClassification, tokens=70, hide=slice(40, 70), config=dict(num_labels=3, hidden_size=72)),
    "qa-hole": dict(model=BertForQuestionAnswering, hide=slice(6, 11)),
    "tokcls-types": dict(model=BertForTokenClassification, hide=slice(17, 19), config=dict(num_labels=5, type_vocab_size=3)),
}


def draw(model, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if "LayerNorm.weight" in name:
            p.data = 1 + 0.1 * noise
        elif name.endswith("bias"):
            p.data = 0.1 * noise
        elif "embeddings" in name:
            p.data = noise * 0.5
        else:
            p.data = noise * 1.2 / p.shape[1] ** 0.5
    return model.half().float()


def old_names(state):
    return {("bert." + k).replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in state.items()}


def make(name, facts, out):
    config = BertConfig(**(BASE | facts.get("config", {})), attn_implementation="eager")
    more = {"add_pooling_layer": False} if facts.get("pooler") is False else {}
    model = draw(facts["model"](config, **more).eval(), len(name))
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    copy.deepcopy(model).half().save_pretrained(folder + "/model")
    if facts.get("names") == "old":
        state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
        save_file(old_names(state), folder + "/model/model.safetensors", {"format": "pt"})
    g = torch.Generator().manual_seed(7)
    n = facts.get("tokens", 19)
    inputs = {"input_ids": torch.randint(3, config.vocab_size, (2, n), generator=g),
              "token_type_ids": torch.randint(0, config.type_vocab_size, (2, n), generator=g)}
    mask = torch.ones(2, n, dtype=torch.int64)
    if "hide" in facts:
        mask[1, facts["hide"]] = 0
        inputs["attention_mask"] = mask
    if facts.get("positions"):
        inputs["position_ids"] = torch.stack([torch.randperm(config.max_position_embeddings, generator=g)[:n] for _ in range(2)])
    with torch.no_grad():
        got, exact = dict(model(**inputs)), dict(copy.deepcopy(model).double()(**inputs))
    save_file(inputs, folder + "/in.safetensors")
    save_file({k: v.contiguous() for k, v in got.items()}, folder + "/out.safetensors")
    case = {"name": name, "tolerance": {}, "scale": {}, "compare_mask": {}}
    for k, v in got.items():
        scale, by_token = float(v.abs().max()), v.shape[:2] == mask.shape
        difference = (v - exact[k]).abs()
        error = float((difference[mask.bool()] if by_token else difference).max())
        case["tolerance"][k], case["scale"][k] = max(20 * error, 1e-5 * scale), scale
        if by_token and "hide" in facts:
            case["compare_mask"][k] = "attention_mask"
    with open(folder + "/case.json", "w", encoding="utf-8") as f:
        json.dump(case, f, indent=1)
    print(f"{name}: {case['scale']}", flush=True)


if __name__ == "__main__":
    for case_name, case_facts in CASES.items():
        if len(sys.argv) < 3 or case_name in sys.argv[2:]:
            make(case_name, case_facts, sys.argv[1])
