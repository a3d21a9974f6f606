#!/usr/bin/env python3
"""Makes the architecture fixtures: make.py OUT_DIR [NAME..]

Tiny seeded models with logits and greedy tokens recorded from Transformers (float32, eager attention). Every weight is
drawn anew, so that attention, biases, rotations and masks all show in the outputs; a seed whose greedy tokens are near
ties or all the same is passed over. Tolerance: 20 times the distance between the float32 and the float64 run, at least
1e-5 of the largest logit. Needs torch, transformers, gguf."""
import copy
import json
import os
import shutil
import sys
import zlib

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

# Of each architecture: its classes, its name in a GGUF, and what its configs share.
BASE = dict(hidden_size=48, intermediate_size=76, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=99,
            max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False)
ARCHS = {
    "llama": (LlamaConfig, LlamaForCausalLM, "llama", BASE),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, "qwen2", BASE | dict(rope_theta=1e6)),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, "qwen3", BASE | dict(head_dim=20)),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, "gemma2",
               BASE | dict(hidden_size=40, intermediate_size=52, head_dim=16, vocab_size=83, query_pre_attn_scalar=24, sliding_window=6,
                           tie_word_embeddings=True)),
    "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM, "gemma3",
               BASE | dict(hidden_size=40, intermediate_size=52, num_hidden_layers=3, head_dim=16, vocab_size=83, rope_theta=50000.0,
                           rope_local_base_freq=1000.0, query_pre_attn_scalar=24, sliding_window=6, tie_word_embeddings=True,
                           layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
}

# `config`: what differs from the architecture's. `tokens`: length of the prompt; `pad`: left or right; `gguf`: block format of
# the matrices; `drop`: keys that the saved config leaves out.
ODD = dict(hidden_size=72, intermediate_size=100, num_attention_heads=3, num_key_value_heads=1, vocab_size=131)
CASES = {
    "odd": dict(config=ODD),
    "odd-left": dict(config=ODD, pad="left"),
    "odd-right": dict(config=ODD, pad="right"),
    "bias": dict(config=dict(attention_bias=True, mlp_bias=True, num_key_value_heads=4)),
    "tied": dict(config=dict(tie_word_embeddings=True, vocab_size=67)),
    "headdim": dict(config=dict(head_dim=20, num_attention_heads=3, num_key_value_heads=3)),
    "linear": dict(config=dict(rope_scaling={"type": "linear", "factor": 3.0})),
    "dynamic": dict(config=dict(rope_scaling={"rope_type": "dynamic", "factor": 2.5}, max_position_embeddings=16), tokens=27),
    "yarn": dict(config=dict(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
    "llama3": dict(config=dict(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                             "original_max_position_embeddings": 32})),
    "long": dict(config=dict(max_position_embeddings=256), tokens=200),
    "gguf-f32": dict(config=ODD | dict(head_dim=24), gguf="F32"),
    "gguf-f16": dict(config=ODD | dict(tie_word_embeddings=True), gguf="F16"),
    "gguf-bf16": dict(config=dict(rope_theta=500.0), gguf="BF16"),
    "gguf-llama3": dict(config=dict(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 32}), gguf="F16"),
}
for form in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
    CASES["gguf-" + form.lower()] = dict(config=dict(hidden_size=64, intermediate_size=96, vocab_size=131), gguf=form)
# Formats that the gguf package only reads: bytes of the f16 scale in a block, of the minimum's scale, and the ratio of the two
# that makes values even about zero.
DRAWN = {"Q2_K": (80, 82, 1.5), "Q3_K": (108,), "Q4_K": (0, 2, 7.5), "Q5_K": (0, 2, 15.5), "Q6_K": (208,), "TQ1_0": (52,),
         "TQ2_0": (64,), "IQ4_NL": (0,), "IQ4_XS": (0,)}
for form in DRAWN:
    CASES["gguf-" + form.lower()] = dict(config=dict(hidden_size=256, intermediate_size=256, num_hidden_layers=1, head_dim=16,
                                                     num_key_value_heads=1, vocab_size=67), gguf=form)
ACTIVATIONS = ["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu2", "relu6", "leaky_relu", "mish",
               "sigmoid", "tanh", "linear", "laplace", "gelu_10", "gelu_accurate", "swish"]
for act in ACTIVATIONS:
    CASES["act-" + act.replace("_", "-")] = dict(config=dict(hidden_act=act, num_hidden_layers=1, hidden_size=32, vocab_size=67))
SLIDING = dict(use_sliding_window=True, sliding_window=7)
FULL, SLIDES = "full_attention", "sliding_attention"
for name, facts in {
    "": dict(),
    "-tied-left": dict(config=dict(tie_word_embeddings=True, num_key_value_heads=4), pad="left"),
    "-sliding": dict(config=SLIDING | dict(num_hidden_layers=3, max_window_layers=1), drop=["layer_types"]),
    "-layer-types": dict(config=SLIDING | dict(layer_types=[SLIDES, FULL])),
    "-unused-window": dict(config=dict(sliding_window=3, max_window_layers=0), drop=["layer_types"]),
    "-window-long": dict(config=SLIDING | dict(sliding_window=40, max_window_layers=1, max_position_embeddings=256), tokens=200),
    "-yarn": dict(config=dict(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
    "-gguf-f16": dict(config=dict(tie_word_embeddings=True), gguf="F16"),
    "-gguf-q8-0": dict(config=dict(hidden_size=64, intermediate_size=96), gguf="Q8_0"),
}.items():
    CASES["qwen2" + name] = dict(arch="qwen2") | facts
for name, facts in {
    "": dict(config=dict(attention_bias=True), pad="left"),
    "-sliding": dict(config=SLIDING | dict(num_hidden_layers=3, max_window_layers=1), drop=["layer_types"]),
    "-gguf-f16": dict(config=dict(tie_word_embeddings=True), gguf="F16"),
}.items():
    CASES["qwen3" + name] = dict(arch="qwen3") | facts
for name, facts in {
    "": dict(config=dict(attn_logit_softcapping=2.0, final_logit_softcapping=4.0)),
    "-left": dict(config=dict(num_hidden_layers=3), drop=["layer_types", "attn_logit_softcapping"], pad="left"),
    "-gguf-f16": dict(config=dict(query_pre_attn_scalar=16, attn_logit_softcapping=3.0, final_logit_softcapping=5.0), gguf="F16"),
}.items():
    CASES["gemma2" + name] = dict(arch="gemma2") | facts
LINEAR = {"rope_type": "linear", "factor": 4.0}
for name, facts in {
    "": dict(),
    "-left": dict(pad="left"),
    "-pattern": dict(config=dict(layer_types=None, sliding_window_pattern=2, rope_scaling=LINEAR), drop=["layer_types"]),
    "-caps": dict(config=dict(attn_logit_softcapping=3.0, final_logit_softcapping=8.0, attention_bias=True)),
    "-untied-long": dict(config=dict(tie_word_embeddings=False, sliding_window=30, max_position_embeddings=256), tokens=200),
    "-gguf-f16": dict(config=dict(layer_types=None, num_hidden_layers=6, hidden_size=32, rope_local_base_freq=1e4,
                                  query_pre_attn_scalar=16, final_logit_softcapping=8.0), gguf="F16"),
    "-gguf-q5-0": dict(config=dict(layer_types=None, num_hidden_layers=6, hidden_size=32, intermediate_size=64,
                                   rope_local_base_freq=1e4, query_pre_attn_scalar=16, rope_scaling=LINEAR), gguf="Q5_0"),
}.items():
    CASES["gemma3" + name] = dict(arch="gemma3") | facts


def draw(model, seed):
    g = torch.Generator().manual_seed(seed)
    tied, gemma = model.config.tie_word_embeddings, "gemma" in model.config.model_type
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if "norm" in name:
            whole = 0 if gemma else 1  # Gemma adds 1; what its layers add has to outweigh its scaled embedding
            p.data = (3 if gemma and "post_" in name else whole) + 0.1 * noise
        elif name.endswith("bias"):
            p.data = 0.1 * noise
        elif "embed" in name:
            p.data = noise * (0.2 if gemma else 0.3 if tied else 1.0)
        else:
            p.data = noise * 1.2 / p.shape[1] ** 0.5
    return model


def run(model, ids, mask):
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits


def decode(model, ids, count):
    """Greedy tokens without a cache, and the smallest margin met."""
    ids, margin, new = ids.clone(), 1e9, []
    for _ in range(count):
        top = torch.topk(run(model, ids, torch.ones_like(ids))[0, -1], 2)
        margin = min(margin, float(top.values[0] - top.values[1]))
        new.append(int(top.indices[0]))
        ids = torch.cat([ids, top.indices[:1].view(1, 1)], 1)
    return new, margin


def permute(weight, heads):
    """Rotary halves to pairs, as GGUF stores Llama's q and k."""
    rows, cols = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


GGUF_NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
GEMMA_NAMES = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
               "post_feedforward_layernorm": "post_ffw_norm"}


def gguf_name(name, arch):
    flat = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in flat:
        return flat[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    names = GGUF_NAMES | GEMMA_NAMES if "gemma" in arch else GGUF_NAMES
    return f"blk.{layer}.{names[part]}.{kind}"


def gguf_keys(w, model, arch):
    c = model.config
    width = getattr(c, "head_dim", c.hidden_size // c.num_attention_heads)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_theta)
    if arch == "llama":
        w.add_rope_dimension_count(width)
    if arch != "qwen2":
        w.add_key_length(width)
        w.add_value_length(width)
    if arch == "llama":
        w.add_vocab_size(c.vocab_size)
    if "gemma" in arch:
        w.add_sliding_window(c.sliding_window)
        if arch == "gemma2":
            w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        if c.final_logit_softcapping:
            w.add_final_logit_softcapping(c.final_logit_softcapping)
    kind = (getattr(c, "rope_scaling", None) or {}).get("rope_type")
    if kind == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(c.rope_scaling["factor"])
    if kind == "llama3":  # the factors by which frequencies are divided
        plain = copy.deepcopy(c)
        plain.rope_scaling = None
        factors = type(model)(plain).model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq
        w.add_tensor("rope_freqs.weight", factors.numpy().astype(np.float32))


def drawn_blocks(array, form, seed):
    """Random blocks of a format, of the array's shape and spread."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[form]]
    raw = np.random.default_rng(seed).integers(0, 256, (array.size // block, size), dtype=np.uint8)
    if form == "TQ2_0":  # three codes of the four
        raw &= ~(raw >> 1 & 0x55)
    for scale in (1.0, None):
        if scale is None:
            scale = array.std() / gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[form]).std()
        for at, ratio in zip(DRAWN[form][:2], (1.0, *DRAWN[form][2:])):
            raw[:, at:at + 2] = np.frombuffer(np.float16(scale * ratio).tobytes(), dtype=np.uint8)
    return raw.reshape(array.shape[0], -1)


def blocks_of(array, kind):
    """The array in a block format, and that format: another one where its rows aren't whole blocks."""
    form = kind.name
    if form not in DRAWN:
        return gguf.quants.quantize(array, kind), kind
    if array.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        return gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0
    return drawn_blocks(array, form, zlib.crc32(array.tobytes())), kind


def write_gguf(model, path, form, arch):
    """Writes the model and replaces its weights by what the file holds."""
    c, kind = model.config, gguf.GGMLQuantizationType[form]
    w = gguf.GGUFWriter(path, arch)
    gguf_keys(w, model, arch)
    state = model.state_dict()
    for name, value in state.items():
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        whole = 1 if "gemma" in arch and "norm" in name else 0
        array, this = value.numpy() + np.float32(whole), kind if value.dim() == 2 else gguf.GGMLQuantizationType.F32
        heads = {"q_proj": c.num_attention_heads, "k_proj": c.num_key_value_heads}.get(name.split(".")[-2], 0) if arch == "llama" else 0
        packed, this = blocks_of(array, this)
        state[name].copy_(torch.from_numpy(gguf.quants.dequantize(packed, this).reshape(array.shape) - np.float32(whole)))
        w.add_tensor(gguf_name(name, arch), permute(packed, heads) if heads else packed, raw_dtype=this)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def save_folder(model, folder, drop):
    """Writes the model in half precision and replaces its weights by what the files hold."""
    half = copy.deepcopy(model).half()
    half.save_pretrained(folder)
    model.load_state_dict({k: v.float() for k, v in half.state_dict().items()})
    if not drop:
        return
    with open(folder + "/config.json", encoding="utf-8") as f:
        config = json.load(f)
    with open(folder + "/config.json", "w", encoding="utf-8") as f:
        json.dump({k: v for k, v in config.items() if k not in drop}, f, indent=2)


def make(name, facts, out):
    torch.manual_seed(0)
    config_class, model_class, arch, base = ARCHS[facts.get("arch", "llama")]
    config = config_class(**(base | facts.get("config", {})), attn_implementation="eager", bos_token_id=1, eos_token_id=2, pad_token_id=0)
    for seed in range(100):
        model = draw(model_class(config).eval().float(), seed * 1000 + len(name))
        folder = os.path.join(out, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder + "/model")
        if "gguf" in facts:
            write_gguf(model, folder + "/model/model.gguf", facts["gguf"], arch)
        else:
            save_folder(model, folder + "/model", facts.get("drop", []))
        g = torch.Generator().manual_seed(seed)
        n = facts.get("tokens", 19)
        ids = torch.randint(3, config.vocab_size, (2 if "pad" in facts else 1, n), generator=g)
        mask = torch.ones_like(ids)
        if "pad" in facts:
            at = slice(0, 7) if facts["pad"] == "left" else slice(n - 7, n)
            ids[1, at], mask[1, at] = 0, 0
        # Each run on a copy: dynamic rope keeps the longest length it has met.
        logits, exact = run(copy.deepcopy(model), ids, mask), run(copy.deepcopy(model).double(), ids, mask)
        new, margin = decode(copy.deepcopy(model), ids[:1], 16)
        cached = model.generate(ids[:1], max_new_tokens=16, do_sample=False, eos_token_id=None)[0, n:].tolist()
        if margin > 0.02 and len(set(new)) > 4 and min(new) > 2 and new == cached:
            break
    scale = float(logits.abs().max())
    difference = (logits - exact).abs()[mask.bool()]
    error = float(difference[difference.isfinite().all(1)].max())  # eager attention in float64 gives NaN beside padding
    save_file({"input_ids": ids, "attention_mask": mask}, folder + "/in.safetensors")
    save_file({"logits": logits.contiguous()}, folder + "/out.safetensors")
    case = {"name": name, "seed": seed, "tolerance": {"logits": max(20 * error, 1e-5 * scale)}, "scale": {"logits": scale},
            "compare_mask": {"logits": "attention_mask"}, "greedy": {"prompt_ids": ids[0].tolist(), "new_ids": new}}
    with open(folder + "/case.json", "w", encoding="utf-8") as f:
        json.dump(case, f, indent=1)
    print(f"{name}: scale {scale:.2f}, float32 against float64 {error:.1e}, seed {seed}, margin {margin:.3f}", flush=True)


if __name__ == "__main__":
    for case_name, case_facts in CASES.items():
        if len(sys.argv) < 3 or case_name in sys.argv[2:]:
            make(case_name, case_facts, sys.argv[1])
