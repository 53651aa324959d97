"""Makes test/fixtures of families from an independent implementation: small random checkpoints in Hugging Face's
layout, logits in float64 and what follows a prompt greedily.

    python3 scripts/make-families.py FOLDER [FAMILY ...]

FOLDER holds reference.py, a forward pass in numpy of the same checkpoints that shares nothing with lib/.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).resolve().parent.parent / 'test' / 'fixtures'
C, F, V, POSITIONS, PROMPT, GREEDY = 24, 40, 53, 64, 24, 12

llama_like = {
    'vocab_size': V,
    'hidden_size': C,
    'intermediate_size': F,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 10,
    'max_position_embeddings': POSITIONS,
    'tie_word_embeddings': False,
}
neox = {
    'model_type': 'gpt_neox',
    'vocab_size': V,
    'hidden_size': C,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': F,
    'rotary_pct': 0.5,
    'max_position_embeddings': POSITIONS,
}
opt = {
    'model_type': 'opt',
    'vocab_size': V,
    'hidden_size': C,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'ffn_dim': F,
    'max_position_embeddings': POSITIONS,
}
phi3 = llama_like | {'model_type': 'phi3', 'num_attention_heads': 4, 'head_dim': None, 'hidden_size': 32}
long_rope = {'type': 'longrope', 'short_factor': [1, 1.1, 1.2, 1.3], 'long_factor': [1, 2, 3.5, 5]}
gemma3 = llama_like | {
    'num_hidden_layers': 4,
    'sliding_window': 9,
    'sliding_window_pattern': 3,
    'query_pre_attn_scalar': 14,
    'rope_scaling': {'rope_type': 'linear', 'factor': 8},
}
del gemma3['tie_word_embeddings']

FAMILIES = {
    'gptj': {
        'model_type': 'gptj', 'vocab_size': V, 'n_positions': POSITIONS, 'n_embd': C, 'n_layer': 2, 'n_head': 3,
        'rotary_dim': 4,
    },
    'gpt-neox': neox,
    'gpt-neox-serial': neox | {'use_parallel_residual': False, 'rotary_pct': 1, 'rotary_emb_base': 1000},
    'opt': opt,
    'opt-post-norm': opt | {'do_layer_norm_before': False, 'word_embed_proj_dim': 16},
    'bloom': {'model_type': 'bloom', 'vocab_size': V, 'hidden_size': C, 'n_layer': 2, 'n_head': 6},
    'llama3': llama_like | {
        'model_type': 'llama',
        'rope_theta': 500000.0,
        'rope_scaling': {
            'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
            'original_max_position_embeddings': 32,
        },
    },
    'mistral': llama_like | {'model_type': 'mistral', 'sliding_window': 9},
    'qwen2': llama_like | {
        'model_type': 'qwen2', 'head_dim': None, 'use_sliding_window': True, 'sliding_window': 9,
        'max_window_layers': 1,
    },
    'qwen3': llama_like | {'model_type': 'qwen3', 'tie_word_embeddings': True, 'rope_theta': 1e6},
    'phi3': phi3 | {'partial_rotary_factor': 0.75, 'hidden_size': C, 'head_dim': 8, 'sliding_window': 9},
    'phi3-short': phi3 | {'rope_scaling': long_rope, 'original_max_position_embeddings': 32},
    'phi3-long': phi3 | {'rope_scaling': long_rope, 'original_max_position_embeddings': 8},
    'gemma': llama_like | {'model_type': 'gemma', 'tie_word_embeddings': True},
    'gemma2': llama_like | {
        'model_type': 'gemma2', 'tie_word_embeddings': True, 'sliding_window': 9, 'query_pre_attn_scalar': 14,
        'attn_logit_softcapping': 2.0, 'final_logit_softcapping': 3.0,
    },
    'gemma3': {'model_type': 'gemma3', 'text_config': gemma3},
    'smollm3': llama_like | {'model_type': 'smollm3', 'num_hidden_layers': 4, 'head_dim': None},
    'olmo2': llama_like | {'model_type': 'olmo2'},
    'mixtral': llama_like | {'model_type': 'mixtral', 'num_local_experts': 5, 'num_experts_per_tok': 2},
    'qwen3-moe': llama_like | {
        'model_type': 'qwen3_moe', 'num_hidden_layers': 3, 'num_experts': 7, 'num_experts_per_tok': 3,
        'moe_intermediate_size': 20, 'mlp_only_layers': [1],
    },
}  # fmt: skip


def linears(name, outputs, inputs, bias):
    return {name + '.weight': (outputs, inputs)} | ({name + '.bias': (outputs,)} if bias else {})


def norm(name, size=C, bias=False):
    return {name + '.weight': (size,)} | ({name + '.bias': (size,)} if bias else {})


def gptj_shapes(c):
    yield 'transformer.wte.weight', (V, C)
    for i in range(c['n_layer']):
        b = f'transformer.h.{i}.'
        yield from norm(b + 'ln_1', bias=True).items()
        for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
            yield f'{b}attn.{name}.weight', (C, C)
        yield from (linears(b + 'mlp.fc_in', 4 * C, C, True) | linears(b + 'mlp.fc_out', C, 4 * C, True)).items()
    yield from (norm('transformer.ln_f', bias=True) | linears('lm_head', V, C, True)).items()


def merged_heads_shapes(c, layers, hidden, attention, names):
    """GPT-NeoX and BLOOM: a matrix of every head's query, key and value."""
    for i in range(layers):
        b = f'{names["layers"]}.{i}.'
        for name in ('input_layernorm', 'post_attention_layernorm'):
            yield from norm(b + name, bias=True).items()
        yield from linears(f'{b}{attention}.query_key_value', 3 * C, C, True).items()
        yield from linears(f'{b}{attention}.dense', C, C, True).items()
        yield from linears(b + 'mlp.dense_h_to_4h', hidden, C, True).items()
        yield from linears(b + 'mlp.dense_4h_to_h', C, hidden, True).items()
    yield from norm(names['norm'], bias=True).items()


def gpt_neox_shapes(c):
    yield 'gpt_neox.embed_in.weight', (V, C)
    names = {'layers': 'gpt_neox.layers', 'norm': 'gpt_neox.final_layer_norm'}
    yield from merged_heads_shapes(c, c['num_hidden_layers'], F, 'attention', names)
    yield 'embed_out.weight', (V, C)


def bloom_shapes(c):
    yield 'transformer.word_embeddings.weight', (V, C)
    yield from norm('transformer.word_embeddings_layernorm', bias=True).items()
    names = {'layers': 'transformer.h', 'norm': 'transformer.ln_f'}
    yield from merged_heads_shapes(c, c['n_layer'], 4 * C, 'self_attention', names)


def opt_shapes(c):
    m, inner, first = 'model.decoder.', c.get('word_embed_proj_dim', C), c.get('do_layer_norm_before', True)
    yield m + 'embed_tokens.weight', (V, inner)
    yield m + 'embed_positions.weight', (POSITIONS + 2, C)
    if inner != C:
        yield m + 'project_in.weight', (C, inner)
        yield m + 'project_out.weight', (inner, C)
    for i in range(c['num_hidden_layers']):
        b = f'{m}layers.{i}.'
        for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
            yield from linears(f'{b}self_attn.{name}', C, C, True).items()
        yield from (linears(b + 'fc1', F, C, True) | linears(b + 'fc2', C, F, True)).items()
        for name in ('self_attn_layer_norm', 'final_layer_norm'):
            yield from norm(b + name, bias=True).items()
    if first:
        yield from norm(m + 'final_layer_norm', bias=True).items()


def attention_shapes(c, a):
    kind, width, H, KH = c['model_type'], c['hidden_size'], c['num_attention_heads'], c['num_key_value_heads']
    D, bias = c.get('head_dim') or width // H, kind == 'qwen2'
    if kind == 'phi3':
        yield f'{a}qkv_proj.weight', ((H + 2 * KH) * D, width)
    else:
        for name, heads in (('q_proj', H), ('k_proj', KH), ('v_proj', KH)):
            yield from linears(a + name, heads * D, width, bias).items()
    yield a + 'o_proj.weight', (width, H * D)
    if kind in ('qwen3', 'gemma3', 'qwen3_moe'):
        yield from (norm(a + 'q_norm', D) | norm(a + 'k_norm', D)).items()
    if kind == 'olmo2':
        yield from (norm(a + 'q_norm', H * D) | norm(a + 'k_norm', KH * D)).items()


def feed_forward_shapes(c, b, layer):
    width, kind = c['hidden_size'], c['model_type']
    if kind == 'mixtral':
        yield b + 'block_sparse_moe.gate.weight', (c['num_local_experts'], width)
        for e in range(c['num_local_experts']):
            for name, shape in (('w1', (F, width)), ('w2', (width, F)), ('w3', (F, width))):
                yield f'{b}block_sparse_moe.experts.{e}.{name}.weight', shape
        return
    if kind == 'qwen3_moe' and layer not in c['mlp_only_layers']:
        inner = c['moe_intermediate_size']
        yield b + 'mlp.gate.weight', (c['num_experts'], width)
        for e in range(c['num_experts']):
            for name, shape in (('gate', (inner, width)), ('up', (inner, width)), ('down', (width, inner))):
                yield f'{b}mlp.experts.{e}.{name}_proj.weight', shape
        return
    if c['model_type'] == 'phi3':
        yield b + 'mlp.gate_up_proj.weight', (2 * F, width)
    else:
        yield b + 'mlp.gate_proj.weight', (F, width)
        yield b + 'mlp.up_proj.weight', (F, width)
    yield b + 'mlp.down_proj.weight', (width, F)


def llama_shapes(c, prefix='model.'):
    kind, width = c['model_type'], c['hidden_size']
    norms = ['input_layernorm', 'post_attention_layernorm']
    if kind in ('gemma2', 'gemma3'):
        norms += ['pre_feedforward_layernorm', 'post_feedforward_layernorm']
    if kind == 'olmo2':
        norms = ['post_attention_layernorm', 'post_feedforward_layernorm']
    yield prefix + 'embed_tokens.weight', (V, width)
    for i in range(c['num_hidden_layers']):
        b = f'{prefix}layers.{i}.'
        yield from attention_shapes(c, b + 'self_attn.')
        yield from feed_forward_shapes(c, b, i)
        for name in norms:
            yield from norm(b + name, width).items()
    yield from norm(prefix + 'norm', width).items()
    if not c['tie_word_embeddings']:
        yield 'lm_head.weight', (V, width)


def gemma3_shapes(c):
    """With the tower that sees images, of which nothing is read."""
    text = c['text_config'] | {'model_type': 'gemma3', 'tie_word_embeddings': True}
    yield from llama_shapes(text, 'language_model.model.')
    yield 'vision_tower.vision_model.embeddings.position_embedding.weight', (3, 5)
    yield 'multi_modal_projector.mm_input_projection_weight', (5, 3)


SHAPES = {'gptj': gptj_shapes, 'gpt_neox': gpt_neox_shapes, 'bloom': bloom_shapes, 'opt': opt_shapes}
SHAPES['gemma3'] = gemma3_shapes


def values(rng, name, shape, less_one):
    """Norms around 1 (0 where the family adds it), matrices so that activations stay of order 1."""
    if len(shape) == 1:
        is_norm = name.endswith('weight')
        return rng.normal(1 if is_norm and not less_one else 0, 0.2, shape)
    scale = 0.5 if 'embed' in name or 'wte' in name else shape[1] ** -0.5
    return rng.normal(0, scale, shape)


def make(reference, name):
    config, folder = FAMILIES[name], FIXTURES / name
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    kind = config['model_type']
    tensors = {
        key: values(rng, key, shape, kind.startswith('gemma')).astype(np.float32)
        for key, shape in SHAPES.get(kind, llama_shapes)(config)
    }
    (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
    reference.save_safetensors(folder / 'model.safetensors', tensors)
    model = reference.Model(str(folder))
    ids = [int(i) for i in rng.integers(0, V, PROMPT)]
    logits = [float(f'{x:.9g}') for x in model.logits(ids).ravel()]
    greedy = model.greedy(ids[: PROMPT // 2], GREEDY)[PROMPT // 2 :]
    golden = {'ids': ids, 'logits': logits, 'greedy': greedy}
    if name == 'phi3-short':  # the factors for short contexts are of models that have no longer ones
        golden['contextLength'] = config['original_max_position_embeddings']
    (folder / 'golden.json').write_text(json.dumps(golden, separators=(',', ':')) + '\n')
    print(f'{name}: {len(logits)} logits of standard deviation {np.std(logits):.3g}, {sum(t.size for t in tensors.values())} weights')


def main():
    sys.path.insert(0, sys.argv[1])
    import reference

    for name in sys.argv[2:] or FAMILIES:
        make(reference, name)


if __name__ == '__main__':
    main()
