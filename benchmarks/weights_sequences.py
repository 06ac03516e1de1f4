"""Small recurrent networks and transformers of the families that the weights test knows, with their usual names."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from weights_convolutional import CLASSES, SIDE

TOKENS, LENGTH = 48, 16


class Recurrent(nn.Module):
    """Two layers of cells in steps, with the names of torch's layers."""

    def __init__(self, gates, width=24):
        super().__init__()
        self.gates, self.width = gates, width
        self.embedding = nn.Embedding(TOKENS, width)
        self.rnn = nn.Module()
        for layer in range(2):
            for name in ("weight_ih", "weight_hh"):
                self.rnn.register_parameter(f"{name}_l{layer}", nn.Parameter(torch.empty(gates * width, width)))
            self.rnn.register_parameter(f"bias_ih_l{layer}", nn.Parameter(torch.zeros(gates * width)))
        for parameter in self.rnn.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)
        self.dense, self.head = nn.Linear(width, 32), nn.Linear(32, TOKENS)

    def forward(self, tokens):
        sequence = self.embedding(tokens)
        for layer in range(2):
            weights = [getattr(self.rnn, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih")]
            sequence = self._layer(sequence, *weights)
        return self.head(torch.tanh(self.dense(sequence)))

    def _layer(self, sequence, inputs, hidden, bias):
        h = c = sequence.new_zeros(sequence.shape[0], self.width)
        outputs = []
        for x in sequence.unbind(1):
            if self.gates == 4:
                i, f, g, o = (x @ inputs.T + h @ hidden.T + bias).chunk(4, -1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
            else:
                ours, theirs = (x @ inputs.T + bias).chunk(3, -1), (h @ hidden.T).chunk(3, -1)
                r, z = torch.sigmoid(ours[0] + theirs[0]), torch.sigmoid(ours[1] + theirs[1])
                h = (1 - z) * torch.tanh(ours[2] + r * theirs[2]) + z * h
            outputs.append(h)
        return torch.stack(outputs, 1)


def turn(x, angle):
    """Rotary position codes."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def attend(q, k, v, heads, causal, rotate=False):
    """Attention of (n, length, width); fewer heads of keys and values serve several of the queries."""
    n, length, width = q.shape
    size = width // heads
    q, k, v = (x.reshape(n, length, -1, size).transpose(1, 2) for x in (q, k, v))
    if rotate:
        angle = torch.arange(length)[:, None] * 100.0 ** (-torch.arange(size // 2) / (size // 2))
        q, k = (turn(x, angle) for x in (q, k))
    k, v = (x.repeat_interleave(heads // x.shape[1], 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / size**0.5
    if causal:
        scores = scores + torch.full((length, length), -1e9).triu(1)
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)


def child(**modules):
    """A module that holds others under names."""
    made = nn.Module()
    for name, module in modules.items():
        made.add_module(name, module)
    return made


class LlamaLike(nn.Module):
    """Llama, Qwen2 (biases, few heads of keys and values) and Mistral (wider, few heads), by Transformers' names."""

    def __init__(self, kv_heads=2, bias=False, hidden=48, width=32, layers=3):
        super().__init__()
        self.heads = 2
        kv = width // self.heads * kv_heads
        self.model = child(
            embed_tokens=nn.Embedding(TOKENS, width),
            layers=nn.ModuleList(
                child(
                    self_attn=child(
                        q_proj=nn.Linear(width, width, bias),
                        k_proj=nn.Linear(width, kv, bias),
                        v_proj=nn.Linear(width, kv, bias),
                        o_proj=nn.Linear(width, width, False),
                    ),
                    mlp=child(
                        gate_proj=nn.Linear(width, hidden, False),
                        up_proj=nn.Linear(width, hidden, False),
                        down_proj=nn.Linear(hidden, width, False),
                    ),
                    input_layernorm=nn.RMSNorm(width),
                    post_attention_layernorm=nn.RMSNorm(width),
                )
                for _ in range(layers)
            ),
            norm=nn.RMSNorm(width),
        )
        self.lm_head = nn.Linear(width, TOKENS, False)

    def forward(self, tokens):
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            y, attention = layer.input_layernorm(x), layer.self_attn
            projected = attention.q_proj(y), attention.k_proj(y), attention.v_proj(y)
            x = x + attention.o_proj(attend(*projected, self.heads, True, True))
            y, mlp = layer.post_attention_layernorm(x), layer.mlp
            x = x + mlp.down_proj(F.silu(mlp.gate_proj(y)) * mlp.up_proj(y))
        return self.lm_head(self.model.norm(x))


class Conv1D(nn.Module):
    """GPT-2's dense layer: (in, out)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.1), nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class GPT2(nn.Module):
    def __init__(self, width=32, layers=3):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(TOKENS, width), nn.Embedding(LENGTH, width)
        nn.init.normal_(self.wte.weight, std=0.1)
        self.h = nn.ModuleList(
            child(
                ln_1=nn.LayerNorm(width),
                attn=child(c_attn=Conv1D(width, 3 * width), c_proj=Conv1D(width, width)),
                ln_2=nn.LayerNorm(width),
                mlp=child(c_fc=Conv1D(width, 64), c_proj=Conv1D(64, width)),
            )
            for _ in range(layers)
        )
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = x + block.attn.c_proj(attend(*block.attn.c_attn(block.ln_1(x)).chunk(3, -1), 2, True))
            x = x + block.mlp.c_proj(F.gelu(block.mlp.c_fc(block.ln_2(x))))
        return self.ln_f(x) @ self.wte.weight.T


class BERT(nn.Module):
    """Hidden tokens are told from those around them."""

    def __init__(self, width=32, layers=3):
        super().__init__()
        embeddings = child(
            word_embeddings=nn.Embedding(TOKENS, width),
            position_embeddings=nn.Embedding(LENGTH, width),
            LayerNorm=nn.LayerNorm(width),
        )
        encoder = child(layer=nn.ModuleList(self._layer(width) for _ in range(layers)))
        self.bert = child(embeddings=embeddings, encoder=encoder)
        self.cls = child(predictions=child(decoder=nn.Linear(width, TOKENS)))

    @staticmethod
    def _layer(width):
        attention = child(**{name: nn.Linear(width, width) for name in ("query", "key", "value")})
        return child(
            attention=child(self=attention, output=child(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width))),
            intermediate=child(dense=nn.Linear(width, 64)),
            output=child(dense=nn.Linear(64, width), LayerNorm=nn.LayerNorm(width)),
        )

    def forward(self, tokens):
        embeddings = self.bert.embeddings
        x = embeddings.word_embeddings(tokens) + embeddings.position_embeddings.weight[: tokens.shape[1]]
        x = embeddings.LayerNorm(x)
        for layer in self.bert.encoder.layer:
            own, out = layer.attention.get_submodule("self"), layer.attention.output
            x = out.LayerNorm(x + out.dense(attend(own.query(x), own.key(x), own.value(x), 2, False)))
            x = layer.output.LayerNorm(x + layer.output.dense(F.gelu(layer.intermediate.dense(x))))
        return self.cls.predictions.decoder(x)


class ViT(nn.Module):
    """As timm names it; patches of 2×2."""

    def __init__(self, width=32, layers=3):
        super().__init__()
        self.patch_embed = child(proj=nn.Conv2d(3, width, 2, 2))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (SIDE // 2) ** 2, width))
        self.blocks = nn.ModuleList(
            child(
                norm1=nn.LayerNorm(width),
                attn=child(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width)),
                norm2=nn.LayerNorm(width),
                mlp=child(fc1=nn.Linear(width, 64), fc2=nn.Linear(64, width)),
            )
            for _ in range(layers)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            x = x + block.attn.proj(attend(*block.attn.qkv(block.norm1(x)).chunk(3, -1), 2, False))
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
        return self.head(self.norm(x.mean(1)))
