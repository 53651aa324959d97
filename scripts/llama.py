"""A LLaMA and its gradient in numpy, for scripts/train-tiny-shakespeare.py: RMSNorm, rotary positions,
grouped-query attention, SwiGLU, tied embeddings.

    python3 scripts/llama.py    # compares the gradient with finite differences, in a second

Shapes: B windows, T positions, C channels, H query heads, KH key/value heads, D head size, F feed-forward
size, V vocabulary.
"""

import math
from dataclasses import dataclass

import numpy as np

DROPOUT = 0.1  # of the embeddings and of what each branch adds to the residual stream


@dataclass(frozen=True)
class Config:
    vocab_size: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 344
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    max_position_embeddings: int = 256
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0


class Parameters:
    """Named tensors and their gradients, all views of two vectors, so that the optimiser works on vectors.

    Matrices come first and gains last, so that weight decay applies to a prefix. q, k and v are neighbours,
    as are gate and up: each group can be read as one matrix.
    """

    def __init__(self, config, dtype):
        C, F, D = config.hidden_size, config.intermediate_size, config.head_dim
        attention_size, key_size = config.num_attention_heads * D, config.num_key_value_heads * D
        matrices, gains = {'model.embed_tokens': (config.vocab_size, C)}, {'model.norm': (C,)}
        for i in range(config.num_hidden_layers):
            attention, mlp = f'model.layers.{i}.self_attn.', f'model.layers.{i}.mlp.'
            matrices |= {attention + 'q_proj': (attention_size, C), attention + 'k_proj': (key_size, C)}
            matrices |= {attention + 'v_proj': (key_size, C), attention + 'o_proj': (C, attention_size)}
            matrices |= {mlp + 'gate_proj': (F, C), mlp + 'up_proj': (F, C), mlp + 'down_proj': (C, F)}
            gains |= {f'model.layers.{i}.{name}_layernorm': (C,) for name in ('input', 'post_attention')}
        self.shapes = matrices | gains
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.starts = dict(zip(self.shapes, np.cumsum([0, *sizes])))
        self.num_decayed = sum(sizes[: len(matrices)])
        self.vector, self.gradient = np.zeros(sum(sizes), dtype), np.zeros(sum(sizes), dtype)

    def __getitem__(self, names):
        """(tensor, gradient) of a name, or of several neighbours as one matrix (sum of outputs, inputs)."""
        names = names if isinstance(names, tuple) else (names,)
        rows = sum(self.shapes[name][0] for name in names)
        shape, start = (rows, *self.shapes[names[0]][1:]), self.starts[names[0]]
        return [v[start : start + math.prod(shape)].reshape(shape) for v in (self.vector, self.gradient)]

    def initialize(self, rng, num_layers):
        for name, shape in self.shapes.items():
            std = 0.02 if name == 'model.embed_tokens' else shape[-1] ** -0.5
            if name.endswith(('o_proj', 'down_proj')):
                std *= (2 * num_layers) ** -0.5  # what all branches add together keeps its size (GPT-2)
            self[name][0][...] = rng.normal(0, std, shape) if len(shape) > 1 else 1


# Each operation returns its result and a function from the gradient of the result to that of the input, which
# adds to the gradients of the operation's parameters on its way.


def linear(x, weight, gradient):
    """y = x weightᵀ; weight (out,in)."""
    rows = x.reshape(-1, x.shape[-1])

    def backward(dy):
        dy = dy.reshape(-1, dy.shape[-1])
        gradient[...] += dy.T @ rows
        return (dy @ weight).reshape(x.shape)

    return (rows @ weight.T).reshape(*x.shape[:-1], -1), backward


def rms_norm(x, weight, gradient, epsilon):
    """y = x / sqrt(mean(x²) + epsilon) · weight. Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467"""
    rstd = 1 / np.sqrt(np.einsum('btc,btc->bt', x, x)[..., None] / x.shape[-1] + epsilon)  # (B,T,1)
    normalized = x * rstd

    def backward(dy):
        gradient[...] += np.einsum('btc,btc->c', dy, normalized)
        dnormalized = dy * weight
        mean = np.einsum('btc,btc->bt', dnormalized, normalized)[..., None] / x.shape[-1]
        return rstd * (dnormalized - normalized * mean)

    return normalized * weight, backward


def dropout(x, rng):
    """x itself without a generator. Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html"""
    if rng is None:
        return x, lambda dy: dy
    kept = (rng.random(x.shape, np.float32) >= DROPOUT) * x.dtype.type(1 / (1 - DROPOUT))
    return x * kept, lambda dy: dy * kept


def rotary_tables(config, T, dtype):
    """cos, sin of position times frequency, (T,D/2). Su et al. 2021, https://arxiv.org/abs/2104.09864"""
    frequency = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    angle = np.arange(T)[:, None] * frequency
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


def rotate(x, cos, sin):
    """Rotates the pairs (i, i + D/2) of x (...,T,D); with -sin, back."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attention(x, p, layer, config):
    """Causal grouped-query attention. Ainslie et al. 2023, https://arxiv.org/abs/2305.13245"""
    (B, T, _), H, KH, D = x.shape, config.num_attention_heads, config.num_key_value_heads, config.head_dim
    qkv, qkv_backward = linear(x, *p[tuple(f'{layer}.self_attn.{name}_proj' for name in 'qkv')])
    heads = qkv.reshape(B, T, H + 2 * KH, D).transpose(0, 2, 1, 3)
    cos, sin = rotary_tables(config, T, x.dtype)
    qk = rotate(heads[:, : H + KH], cos, sin)
    q = qk[:, :H].reshape(B, KH, -1, D)  # (B,KH,H/KH·T,D): the query heads of a group, one below the other
    k, v = np.ascontiguousarray(qk[:, H:]), np.ascontiguousarray(heads[:, H + KH :])  # (B,KH,T,D)
    scale = D**-0.5

    s = (q * scale) @ k.swapaxes(2, 3)  # (B,KH,H/KH·T,T)
    s = (s.reshape(B, H, T, T) + np.triu(np.full((T, T), -np.inf, x.dtype), 1)).reshape(s.shape)
    s = np.exp(s - s.max(axis=-1, keepdims=True))
    s /= s.sum(axis=-1, keepdims=True)
    mixed = s @ v  # as q
    merged = mixed.reshape(B, H, T, D).transpose(0, 2, 1, 3).reshape(B, T, H * D)
    y, out_backward = linear(merged, *p[f'{layer}.self_attn.o_proj'])

    def backward(dy):
        dmixed = out_backward(dy).reshape(B, T, H, D).transpose(0, 2, 1, 3).reshape(B, KH, -1, D)
        ds = dmixed @ v.swapaxes(2, 3)
        ds -= (dmixed * mixed).sum(axis=-1, keepdims=True)  # which is the sum of s · ds over the keys
        ds *= s
        dheads = np.empty((B, H + 2 * KH, T, D), x.dtype)
        dheads[:, :H] = (ds @ k).reshape(B, H, T, D) * scale
        dheads[:, H : H + KH] = ds.swapaxes(2, 3) @ q * scale
        dheads[:, H + KH :] = s.swapaxes(2, 3) @ dmixed
        dheads[:, : H + KH] = rotate(dheads[:, : H + KH], cos, -sin)
        return qkv_backward(dheads.transpose(0, 2, 1, 3).reshape(B, T, -1))

    return y, backward


def feed_forward(x, p, layer, config):
    """down(silu(gate(x)) · up(x)). Shazeer 2020, https://arxiv.org/abs/2002.05202"""
    F = config.intermediate_size
    gate_up, gate_up_backward = linear(x, *p[f'{layer}.mlp.gate_proj', f'{layer}.mlp.up_proj'])
    gate, up = gate_up[..., :F], gate_up[..., F:]
    sigmoid = 0.5 * (1 + np.tanh(0.5 * gate))  # a form in which nothing overflows
    activated = gate * sigmoid
    y, down_backward = linear(activated * up, *p[f'{layer}.mlp.down_proj'])

    def backward(dy):
        dhidden = down_backward(dy)
        dgate_up = np.empty_like(gate_up)
        dgate_up[..., :F] = dhidden * up * (sigmoid + activated * (1 - sigmoid))
        dgate_up[..., F:] = dhidden * activated
        return gate_up_backward(dgate_up)

    return y, backward


def forward(ids, p, config, rng=None):
    """ids (B,T) to logits (B,T,V); dropout draws from rng, and there is none without."""
    embedding, epsilon = p['model.embed_tokens'], config.rms_norm_eps
    x, embedding_backward = dropout(embedding[0][ids], rng)
    branches = []
    for i in range(config.num_hidden_layers):
        layer = f'model.layers.{i}'
        for norm, branch in (('input_layernorm', attention), ('post_attention_layernorm', feed_forward)):
            y, norm_backward = rms_norm(x, *p[f'{layer}.{norm}'], epsilon)
            y, branch_backward = branch(y, p, layer, config)
            y, dropout_backward = dropout(y, rng)
            x = x + y
            branches.append((dropout_backward, branch_backward, norm_backward))
    x, final_norm_backward = rms_norm(x, *p['model.norm'], epsilon)
    logits, head_backward = linear(x, *embedding)

    def backward(dlogits):
        dx = final_norm_backward(head_backward(dlogits))
        for dropout_backward, branch_backward, norm_backward in reversed(branches):
            dx = dx + norm_backward(branch_backward(dropout_backward(dx)))
        np.add.at(embedding[1], ids, embedding_backward(dx))

    return logits, backward


def cross_entropy(ids, p, config, rng=None):
    """Mean nats of the tokens after the first of each window; ids (B,T+1)."""
    logits, logits_backward = forward(ids[:, :-1], p, config, rng)
    targets = ids[:, 1:, None]
    logits -= logits.max(axis=-1, keepdims=True)
    odds = np.exp(logits)
    total = odds.sum(axis=-1, keepdims=True)
    loss = (np.log(total) - np.take_along_axis(logits, targets, 2)).mean()

    def backward():
        dlogits = odds / total
        np.put_along_axis(dlogits, targets, np.take_along_axis(dlogits, targets, 2) - 1, 2)
        logits_backward(dlogits / targets.size)

    return float(loss), backward


def check_gradients(seed):
    """Compares derivatives along a random direction in each tensor with central differences, in float64."""
    config = Config(vocab_size=19, hidden_size=16, intermediate_size=12, num_hidden_layers=2, head_dim=4)
    rng, h = np.random.default_rng(seed), 1e-5
    p = Parameters(config, np.float64)
    p.vector[:] = rng.normal(0, 0.5, p.vector.size)
    ids = rng.integers(0, config.vocab_size, (3, 8))
    cross_entropy(ids, p, config, np.random.default_rng(seed))[1]()
    for name, shape in p.shapes.items():
        (tensor, gradient), direction, losses = p[name], rng.normal(0, 1, shape), []
        for move in (h, -2 * h, h):  # above, below and back
            tensor += move * direction
            losses.append(cross_entropy(ids, p, config, np.random.default_rng(seed))[0])  # the same dropout
        expected = (losses[0] - losses[1]) / (2 * h)
        error = abs((gradient * direction).sum() / expected - 1)
        print(f'{name}: derivative {expected:+.6f}, relative error {error:.1e}')
        if error > 1e-6:
            raise SystemExit('the gradient is wrong')


if __name__ == '__main__':
    check_gradients(seed=1)
