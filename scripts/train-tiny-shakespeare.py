#!/usr/bin/env python3
"""Trains the language model in models/tiny-shakespeare, with numpy on one core.

    OPENBLAS_NUM_THREADS=1 python3 scripts/train-tiny-shakespeare.py \\
        --text tinyshakespeare.txt --out models/tiny-shakespeare

The text is the 1.1 MB file data/tinyshakespeare/input.txt of https://github.com/karpathy/char-rnn. Everything
is seeded, yet the last digits of the losses depend on the BLAS that numpy uses. It takes about 40 minutes;
more threads hardly help.

The recipe: a byte-level BPE vocabulary learnt on the first 90 % of the text; the LLaMA of llama.py; AdamW
with warm-up and cosine decay on random windows; every EVALUATE_EVERY steps the loss on the last 10 % of the
text, of the weights rounded to bfloat16, which are written to --out when that loss is the lowest so far.
"""

import argparse
import json
import math
import os
import re
import struct
import time
from collections import Counter, defaultdict
from dataclasses import asdict

import numpy as np

from llama import Config, Parameters, cross_entropy, forward

BATCH = 4  # windows a step
WARMUP = 200  # steps
LEARNING_RATE = 3e-3  # at its peak; 1.5e-3 and 6e-3 were worse after 1200 steps
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
WEIGHT_DECAY = 0.1  # of matrices, not of gains
CLIP = 1.0  # largest norm of the gradient
EVALUATE_EVERY = 1000  # steps

# GPT-2's pre-tokenizer. Python's re lacks \p{L} and \p{N}; these classes equal them on ASCII text.
WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def byte_characters():
    """The printable character that stands for each byte in a byte-level vocabulary, in GPT-2's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def join(symbols, pair):
    """Makes each occurrence of the pair in the list of symbols one symbol, from left to right, in place."""
    i = 0
    while i < len(symbols) - 1:
        if (symbols[i], symbols[i + 1]) == pair:
            symbols[i : i + 2] = [pair[0] + pair[1]]
        i += 1


class Tokenizer:
    """Byte-level byte-pair encoding. Sennrich, Haddow & Birch 2016, https://arxiv.org/abs/1508.07909"""

    def __init__(self, text, vocab_size):
        self.characters = byte_characters()
        merges = self.learn_merges(text, vocab_size - len(self.characters))
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.tokens = [*self.characters.values(), *(left + right for left, right in merges)]
        self.ids = {token: i for i, token in enumerate(self.tokens)}

    def symbols(self, word):
        return [self.characters[byte] for byte in word.encode()]

    def learn_merges(self, text, num_merges):
        """Joins the most frequent neighbours num_merges times; among equals, the pair that sorts first."""
        words = [(self.symbols(word), count) for word, count in Counter(WORD.findall(text)).items()]
        frequency, places = Counter(), defaultdict(set)  # of each pair: how often, and in which words

        def tally(i, sign):
            symbols, count = words[i]
            for pair in zip(symbols, symbols[1:]):
                frequency[pair] += sign * count
                places[pair].add(i)

        for i in range(len(words)):
            tally(i, 1)
        merges = []
        while len(merges) < num_merges:
            best = min(frequency, key=lambda pair: (-frequency[pair], pair))
            merges.append(best)
            for i in list(places[best]):
                tally(i, -1)
                join(words[i][0], best)
                tally(i, 1)
        return merges

    def encode_word(self, word):
        symbols = self.symbols(word)
        while pairs := [pair for pair in zip(symbols, symbols[1:]) if pair in self.ranks]:
            join(symbols, min(pairs, key=self.ranks.get))
        return [self.ids[symbol] for symbol in symbols]

    def encode(self, text):
        words = WORD.findall(text)
        known = {word: self.encode_word(word) for word in set(words)}
        return np.array([i for word in words for i in known[word]])

    def decode(self, ids):
        byte_of = {character: byte for byte, character in self.characters.items()}
        return bytes(byte_of[c] for i in ids for c in self.tokens[i]).decode(errors='replace')


class AdamW:
    """Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101, after clipping the norm of the gradient."""

    def __init__(self, p):
        self.p, self.steps = p, 0
        self.mean, self.square = np.zeros_like(p.vector), np.zeros_like(p.vector)

    def step(self, rate):
        p, gradient = self.p, self.p.gradient
        self.steps += 1
        gradient *= min(1.0, CLIP / (float(np.linalg.norm(gradient)) + 1e-6))
        self.mean += (1 - BETA1) * (gradient - self.mean)
        self.square += (1 - BETA2) * (gradient * gradient - self.square)
        deviation = np.sqrt(self.square / (1 - BETA2**self.steps)) + EPSILON
        p.vector[: p.num_decayed] *= 1 - rate * WEIGHT_DECAY
        p.vector -= rate / (1 - BETA1**self.steps) * self.mean / deviation
        gradient[:] = 0


def learning_rate(step, steps):
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / WARMUP
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP)))


def evaluate(ids, p, config):
    """Mean nats of all tokens but the first; the windows follow one another without overlap."""
    T, nats = config.max_position_embeddings, 0.0
    for start in range(0, len(ids) - 1, T):
        window = ids[None, start : start + T + 1]
        nats += cross_entropy(window, p, config)[0] * (window.size - 1)
    return nats / (len(ids) - 1)


def sample(prompt, num_tokens, tokenizer, p, config, rng, temperature=0.8):
    ids = list(tokenizer.encode(prompt))
    for _ in range(num_tokens):
        logits, _ = forward(np.array(ids[-config.max_position_embeddings :])[None], p, config)
        odds = np.exp((logits[0, -1] - logits[0, -1].max()).astype(np.float64) / temperature)
        ids.append(rng.choice(len(odds), p=odds / odds.sum()))
    return tokenizer.decode(ids)


def train(text, out, steps, seed):
    config, rng = Config(), np.random.default_rng(seed)
    learnt, held_out = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    tokenizer = Tokenizer(learnt, config.vocab_size)
    training, validation = tokenizer.encode(learnt), tokenizer.encode(held_out)
    p, rounded = Parameters(config, np.float32), Parameters(config, np.float32)
    p.initialize(rng, config.num_hidden_layers)
    print(f'{p.vector.size} parameters, {len(training)} + {len(validation)} tokens', flush=True)
    write_tokenizer(out, tokenizer, config)

    optimizer, window = AdamW(p), np.arange(config.max_position_embeddings + 1)
    best, losses, start = (math.inf,), [], time.time()
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(training) - len(window) + 1, (BATCH, 1))
        loss, backward = cross_entropy(training[starts + window], p, config, rng)
        backward()
        optimizer.step(learning_rate(step - 1, steps))
        losses.append(loss)
        if step % EVALUATE_EVERY == 0 or step == steps:
            rounded.vector[:] = bfloat16_to_float(float_to_bfloat16(p.vector))
            nats = evaluate(validation, rounded, config)
            print(f'step {step}: loss {np.mean(losses):.4f} with dropout, {nats:.4f} on validation,', end=' ')
            print(f'{time.time() - start:.0f} s', flush=True)
            losses = []
            if nats < best[0]:
                best = nats, step, rounded.vector.copy()
                write_model(out, rounded, config)

    _, step, rounded.vector[:] = best
    print(f'the model of step {step}, {step * BATCH * (len(window) - 1)} tokens seen')
    for name, part in (('training', learnt), ('validation', held_out)):
        ids = tokenizer.encode(part)
        nats = evaluate(ids, rounded, config)
        bits = nats * (len(ids) - 1) / math.log(2) / len(part.encode())
        print(f'{name}: {nats:.4f} nats a token, {bits:.4f} bits a byte')
    print(sample('ROMEO:', 200, tokenizer, rounded, config, rng))


def float_to_bfloat16(x):
    """The upper half of each float, rounded to nearest, ties to even; x must be finite."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype('<u2')


def bfloat16_to_float(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


def write(out, name, data):
    """In one step, so that a reader never meets half a file."""
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, name)
    with open(path + '.part', 'wb') as file:
        file.write(data)
    os.replace(path + '.part', path)


def write_json(out, name, value):
    write(out, name, (json.dumps(value, indent=2, ensure_ascii=False) + '\n').encode())


def write_model(out, p, config):
    """model.safetensors (https://github.com/huggingface/safetensors#format) and config.json."""
    header = {'__metadata__': {'format': 'pt'}}
    for name, shape in p.shapes.items():
        start, size = 2 * int(p.starts[name]), 2 * math.prod(shape)
        header[name + '.weight'] = {'dtype': 'BF16', 'shape': shape, 'data_offsets': [start, start + size]}
    head = json.dumps(header, separators=(',', ':')).encode()
    head += b' ' * (-len(head) % 8)
    body = float_to_bfloat16(p.vector).tobytes()
    write(out, 'model.safetensors', struct.pack('<Q', len(head)) + head + body)

    description = {'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', **asdict(config)}
    description |= {'rope_scaling': None, 'hidden_act': 'silu', 'attention_bias': False, 'mlp_bias': False}
    description |= {'tie_word_embeddings': True, 'bos_token_id': None, 'eos_token_id': None}
    write_json(out, 'config.json', description | {'torch_dtype': 'bfloat16', 'use_cache': True})


def write_tokenizer(out, tokenizer, config):
    byte_level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True, 'use_regex': True}
    model = {'type': 'BPE', 'dropout': None, 'unk_token': None, 'continuing_subword_prefix': None}
    model |= {'end_of_word_suffix': None, 'fuse_unk': False, 'byte_fallback': False, 'ignore_merges': False}
    model |= {'vocab': tokenizer.ids, 'merges': [' '.join(pair) for pair in tokenizer.ranks]}
    rest = {'added_tokens': [], 'normalizer': None, 'pre_tokenizer': byte_level, 'post_processor': None}
    rest |= {'decoder': byte_level, 'model': model}
    write_json(out, 'tokenizer.json', {'version': '1.0', 'truncation': None, 'padding': None, **rest})

    description = {'tokenizer_class': 'PreTrainedTokenizerFast'}
    description |= {'add_bos_token': False, 'add_eos_token': False}
    description |= {'bos_token': None, 'eos_token': None, 'unk_token': None}
    description |= {'model_max_length': config.max_position_embeddings, 'clean_up_tokenization_spaces': False}
    write_json(out, 'tokenizer_config.json', description)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--text', required=True, help='the text to learn')
    parser.add_argument('--out', required=True, help='the folder to write the model to')
    parser.add_argument('--steps', type=int, default=16000)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    with open(options.text, encoding='utf-8') as file:
        train(file.read(), options.out, options.steps, options.seed)


if __name__ == '__main__':
    main()
