#!/usr/bin/env python3
"""Trains the example model (Llama shape, 0.8 M parameters) on make_text.py's conversations.

    train.py OUT_DIR [STEPS]       needs torch, transformers, tokenizers; about ten minutes on two cores

Prints the share of all questions that greedy decoding answers to the letter; the committed folder
`metals` is what one run of this script wrote."""
import json
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import make_text

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer(texts):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=512, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token=SPECIAL[0], eos_token=SPECIAL[2], pad_token=SPECIAL[0],
                                   clean_up_tokenization_spaces=False)
    fast.chat_template = TEMPLATE
    return fast


def batches(tok, steps, size, length):
    """size rows of `length` tokens, conversations one after the other."""
    stream = []
    source = make_text.conversations(10 ** 9, 1)
    for _ in range(steps):
        while len(stream) < size * length + 1:
            text = tok.apply_chat_template(next(source)["messages"], tokenize=False) + SPECIAL[0]
            stream += tok(text, add_special_tokens=False)["input_ids"]
        rows = torch.tensor(stream[:size * length]).view(size, length)
        stream = stream[size * length:]
        yield rows


def score(model, tok):
    """Share of the questions whose greedy answer is right to the letter."""
    every, right = list(make_text.questions()), 0
    for question, answer in every:
        ids = tok.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt",
                                      return_dict=True)["input_ids"]
        with torch.no_grad():
            out = model.generate(ids, max_new_tokens=32, do_sample=False, pad_token_id=0)
        right += tok.decode(out[0, ids.shape[1]:], skip_special_tokens=True) == answer
    return right / len(every)


def main():
    out, steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    torch.manual_seed(7)
    texts = [m["content"] for c in make_text.conversations(4000, 2) for m in c["messages"]]
    tok = make_tokenizer(texts)
    config = LlamaConfig(vocab_size=len(tok), hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
                         num_key_value_heads=2, max_position_embeddings=512, rope_theta=10000.0, tie_word_embeddings=True,
                         rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=2, pad_token_id=0, use_cache=True)
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    for step, rows in enumerate(batches(tok, steps, 24, 96)):
        loss = model(rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
    model = model.to(torch.bfloat16).float().eval()
    print(json.dumps({"answers_right": score(model, tok)}))
    model.generation_config.max_new_tokens = 64
    model.to(torch.bfloat16).save_pretrained(out)
    tok.save_pretrained(out)


if __name__ == "__main__":
    main()
