"""A GGUF file as a Transformers model in fp32: what the compiled program is compared with.

Every block is dequantised to fp32 by the `gguf` package and put into the architecture's own class. The configuration
comes from the metadata, the names from one table; an architecture adds a row to ARCHITECTURES with what is its own
(llama.cpp's conversion reorders the rows of q and k for llama, adds 1 to gemma's norms). A tensor that no name takes,
and a parameter that no tensor fills, is an error. Needs torch, transformers, gguf, numpy."""
import re

import gguf
import numpy as np
import torch
import transformers

NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
}
# the keys every architecture has: configuration's name, key after the architecture's
KEYS = {
    "num_hidden_layers": "block_count", "hidden_size": "embedding_length", "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon", "rope_theta": "rope.freq_base",
    "max_position_embeddings": "context_length", "head_dim": "attention.key_length",
    "sliding_window": "attention.sliding_window",
}


class Metadata:
    def __init__(self, reader):
        self.reader = reader
        self.arch = self.get("general.architecture")

    def get(self, key, default=None):
        field = self.reader.get_field(key)
        return default if field is None else field.contents()

    def own(self, key, default=None):
        return self.get(f"{self.arch}.{key}", default)


def unpermute(data, heads):
    """llama.cpp puts the two halves of a rotated head one after the other, pair by pair; Transformers keeps halves."""
    shape = data.shape
    return data.reshape(heads, shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(shape)


def llama_weight(name, data, config):
    if name.endswith("q_proj.weight") or name.endswith("q_proj.bias"):
        return unpermute(data, config.num_attention_heads)
    if name.endswith("k_proj.weight") or name.endswith("k_proj.bias"):
        return unpermute(data, config.num_key_value_heads)
    return data


def plain_weight(name, data, config):
    return data


def gemma_weight(name, data, config):
    return data - 1 if name.endswith("norm.weight") else data


def llama_config(m, options, tensors):
    options["attention_bias"] = "blk.0.attn_q.bias" in tensors
    options["mlp_bias"] = "blk.0.ffn_gate.bias" in tensors
    kind = m.own("rope.scaling.type")
    if kind not in (None, "none", "linear"):
        raise SystemExit(f"rope.scaling.type {kind} has no mapping yet (expected none or linear)")
    if kind == "linear":
        options["rope_scaling"] = {"rope_type": "linear", "factor": float(m.own("rope.scaling.factor"))}
    return transformers.LlamaConfig(**options)


def qwen2_config(m, options, tensors):
    options.pop("sliding_window", None)
    return transformers.Qwen2Config(**options)


def gemma3_config(m, options, tensors):
    return transformers.Gemma3TextConfig(query_pre_attn_scalar=options["head_dim"], rope_local_base_freq=10000.0,
                                         hidden_activation="gelu_pytorch_tanh", **options)


# architecture: class, configuration, what is done to a weight, names that differ
ARCHITECTURES = {
    "llama": (transformers.LlamaForCausalLM, llama_config, llama_weight, {}),
    "qwen2": (transformers.Qwen2ForCausalLM, qwen2_config, plain_weight, {}),
    "gemma3": (transformers.Gemma3ForCausalLM, gemma3_config, gemma_weight,
               {"ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
                "post_ffw_norm": "post_feedforward_layernorm"}),
}


def hf_name(name, names):
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    if block and block[2] in names:
        return f"model.layers.{block[1]}.{names[block[2]]}.{block[3]}"
    plain = re.fullmatch(r"(\w+)\.(weight|bias)", name)
    return f"{names[plain[1]]}.{plain[2]}" if plain and plain[1] in names else None


def dequantised(tensor):
    data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    return data.reshape([int(n) for n in reversed(tensor.shape)])


def load(path):
    """The model in fp32, in eval mode, and its metadata."""
    reader = gguf.GGUFReader(path)
    m = Metadata(reader)
    if m.arch not in ARCHITECTURES:
        raise SystemExit(f"{path}: no mapping for architecture {m.arch} (known: {', '.join(ARCHITECTURES)})")
    cls, config_of, weight_of, own_names = ARCHITECTURES[m.arch]
    tensors = {t.name: t for t in reader.tensors}
    options = {name: m.own(key) for name, key in KEYS.items() if m.own(key) is not None}
    options["vocab_size"] = int(tensors["token_embd.weight"].shape[1])
    options["tie_word_embeddings"] = "output.weight" not in tensors
    config = config_of(m, options, tensors)
    config._attn_implementation = "eager"
    model = cls(config).float().eval()
    parameters, factors = dict(model.named_parameters()), None
    for name, tensor in tensors.items():
        if name == "rope_freqs.weight":  # Llama 3: what each frequency is divided by
            factors = torch.from_numpy(dequantised(tensor))
            continue
        target = hf_name(name, NAMES | own_names)
        parameter = parameters.pop(target, None)
        if parameter is None:
            raise SystemExit(f"{path}: no place for tensor {name}")
        parameter.data = torch.from_numpy(np.ascontiguousarray(weight_of(target, dequantised(tensor), config)))
    if parameters:
        raise SystemExit(f"{path}: no tensor for {', '.join(parameters)}")
    model.tie_weights()
    if factors is not None:
        model.model.rotary_emb.inv_freq /= factors
    return model, m


def logits(model, ids):
    """float32 logits [positions, vocabulary] of one sequence."""
    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
