"""Which arrays are compared and how: one test for each rule that keeps an innocent file from being accused."""

import numpy as np
import pytest

import sac_fast
from sac_fast.verify.weights import rules
from sac_fast.verify.weights.arrays import open_any
from sac_fast.verify.weights.layers import Use
from sac_fast.verify.weights.rules import describe_layers


def uses(shapes, dtype=np.float32):
    """Uses by name of arrays of these shapes."""
    state = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
    with open_any(state, "state") as opened:
        return {layer.name: layer.use for layer in describe_layers(opened.arrays)}


def left_out(shapes, name):
    return uses(shapes)[name].left_out


CHAIN = {"a.weight": (32, 27), "b.weight": (64, 32), "c.weight": (48, 64), "d.weight": (10, 48)}


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("stft.forward_basis_buffer", (64, 1, 32), rules.FIXED),
        ("mel_basis", (64, 32), rules.FIXED),
        ("model.rotary_emb.inv_freq", (64, 32), rules.FIXED),
        ("h.0.attn.bias", (64, 64), rules.FIXED),
        ("model.embed_tokens.weight", (64, 32), rules.EMBEDDING),
        ("transformer.wte.weight", (64, 32), rules.EMBEDDING),
        ("encoder.pos_embed", (64, 32), rules.EMBEDDING),
        ("patch_embed.proj.weight", (64, 3, 4, 4), rules.STREAM),
        ("layer2.0.downsample.0.weight", (64, 32, 1, 1), rules.STREAM),
        ("lm_head.weight", (64, 32), rules.OUTPUT),
        ("model.layers.0.self_attn.q_proj.weight", (64, 64), rules.ROTARY),
        ("model.layers.0.self_attn.k_proj.weight", (64, 64), rules.ROTARY),
        ("x.query_key_value.weight", (192, 64), rules.ROTARY),
        ("x.v_proj.weight", (40, 64), rules.HEADS),
        ("norm.weight", (64,), rules.ONE_NUMBER),
        ("few.weight", (7, 32), rules.FEW_UNITS),
        ("narrow.weight", (64, 7), rules.FEW_NUMBERS),
    ],
)
def test_what_would_accuse_the_innocent_is_left_out(name, shape, reason):
    consumed = {"next.weight": (32, shape[0])}
    assert left_out({name: shape, **consumed, **CHAIN}, name) == reason


def test_whole_numbers_that_count_are_no_weights():
    state = {"steps": np.zeros((64, 32), np.int64)}
    with open_any(state, "state") as opened:
        assert describe_layers(opened.arrays)[0].use.left_out == rules.NO_WEIGHTS


def test_output_layers_are_left_out():
    """The last array, one that nothing takes, and one that is named a head wherever it stands."""
    found = uses(CHAIN)
    assert [found[name].left_out for name in CHAIN] == [None, None, None, rules.OUTPUT]
    assert left_out({"a.weight": (32, 27), "boxes.weight": (18, 32), **CHAIN}, "boxes.weight") == rules.OUTPUT
    # ten classes, and ten inputs elsewhere
    sorted_names = {"classifier.weight": (10, 48), **CHAIN, "x.weight": (32, 10), "y.weight": (9, 32)}
    assert left_out(sorted_names, "classifier.weight") == rules.OUTPUT
    vgg = {"classifier.0.weight": (64, 32), "classifier.3.weight": (64, 64), "classifier.6.weight": (64, 64), **CHAIN}
    assert [uses(vgg)[f"classifier.{i}.weight"].left_out for i in (0, 3, 6)] == [None, None, rules.OUTPUT]


def test_dense_layers_stored_with_inputs_first_are_seen_by_what_follows():
    found = uses({name: shape[::-1] for name, shape in CHAIN.items()})
    assert [found[name].left_out for name in CHAIN] == [None, None, None, rules.OUTPUT]


def test_square_arrays_may_lie_within_a_residual_stream():
    assert uses({"x.weight": (32, 32, 3, 3), **CHAIN})["x.weight"] == Use(both_sides=True)


def test_recurrent_matrices_count_units_and_are_permuted_on_both_sides():
    found = uses({"rnn.weight_ih_l0": (128, 20), "rnn.weight_hh_l0": (128, 32), **CHAIN})
    assert found["rnn.weight_ih_l0"] == Use(gates=4, known=True)
    assert found["rnn.weight_hh_l0"] == Use(gates=4, both_sides=True, known=True)
    assert uses({"gru.weight_ih_l0": (96, 20), "gru.weight_hh_l0": (96, 32), **CHAIN})["gru.weight_ih_l0"].gates == 3


def test_a_diagonal_that_all_recurrent_networks_have_accuses_nobody():
    """Row i and column i are one unit, and many networks keep a large diagonal: by whole rows all would match."""
    states = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        hidden = rng.normal(size=(4, 48, 48)) + 8 * np.eye(48)
        states.append({f"rnn.weight_hh_l{i}": hidden.reshape(192, 48).astype(np.float32) for i in range(3)})
    result = sac_fast.weights_test(*states)
    assert len(result.compared) == 3
    assert max(layer.matches for layer in result.compared) <= 4
    assert result.verdict == "not distinguished"
    assert sac_fast.weights_test(states[0], {k: v + 0.01 for k, v in states[0].items()}).verdict == "weights related"


def test_heads_are_blocks_and_their_parts_are_of_sixteen():
    prefix = "bert.encoder.layer.0."
    shapes = {
        f"{prefix}attention.self.query.weight": (64, 64),
        f"{prefix}attention.output.dense.weight": (64, 64),
        f"{prefix}intermediate.dense.weight": (256, 64),
        f"{prefix}output.dense.weight": (64, 256),
    }
    found = uses({**shapes, **CHAIN})
    assert found[f"{prefix}attention.self.query.weight"] == Use(blocks=4, known=True)
    assert found[f"{prefix}attention.output.dense.weight"] == Use(side="columns", blocks=4, known=True)
    assert found[f"{prefix}intermediate.dense.weight"] == Use(known=True)
    assert found[f"{prefix}output.dense.weight"] == Use(side="columns", known=True)
    fused = uses({"h.0.attn.c_attn.weight": (64, 192), "blocks.0.attn.qkv.weight": (192, 64), **CHAIN})
    assert fused["h.0.attn.c_attn.weight"] == fused["blocks.0.attn.qkv.weight"] == Use(gates=3, blocks=4, known=True)


def test_columns_of_several_heads_that_share_values_are_left_out():
    name = "model.layers.0.self_attn."
    shared = {f"{name}v_proj.weight": (16, 64), f"{name}o_proj.weight": (64, 64), **CHAIN}
    assert left_out(shared, f"{name}o_proj.weight") == rules.GROUPED_HEADS
    own = {f"{name}v_proj.weight": (64, 64), f"{name}o_proj.weight": (64, 64), **CHAIN}
    assert uses(own)[f"{name}o_proj.weight"] == Use(side="columns", blocks=4, known=True)


def test_the_hidden_units_of_a_residual_block_are_columns_of_its_last_convolution():
    shapes = {
        "conv1.weight": (16, 3, 3, 3),
        "layer1.0.conv1.weight": (16, 16, 3, 3),
        "layer1.0.conv2.weight": (16, 16, 3, 3),
        "layer2.0.conv1.weight": (32, 16, 3, 3),
        "layer2.0.conv2.weight": (32, 32, 3, 3),
        "fc.weight": (10, 32),
    }
    found = uses(shapes)
    assert found["layer1.0.conv1.weight"] == Use(known=True)
    assert found["layer1.0.conv2.weight"] == Use(side="columns", known=True)
    # without projections, shortcuts pad with zeros and tell the stream's units apart
    assert found["conv1.weight"].left_out == rules.STREAM
    projected = uses({**shapes, "layer2.0.downsample.0.weight": (32, 16, 1, 1)})
    assert projected["conv1.weight"].left_out is None


def test_group_normalisation_makes_blocks():
    """Norms without running statistics beside kernels: up to 32 groups."""
    kernels = {"c1.weight": (64, 3, 3, 3), "c2.weight": (96, 64, 3, 3), "c3.weight": (4, 96, 1, 1)}
    shapes = {**kernels, "norm1.weight": (64,)}
    assert uses(shapes)["c1.weight"].blocks == 32
    assert uses({**shapes, "norm1.running_mean": (64,)})["c1.weight"].blocks == 1


def test_one_fixed_transform_accuses_nobody():
    """Two strangers' networks that begin with one Fourier basis under a name that says nothing."""
    angles = 2 * np.pi * np.outer(np.arange(64), np.arange(128)) / 128
    states = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        layers = {name: rng.normal(size=shape) for name, shape in CHAIN.items()}
        states.append({"basis": np.cos(angles + 0.1), "a0.weight": rng.normal(size=(27, 64)), **layers})
    result = sac_fast.weights_test(*states)
    basis = next(layer for layer in result.compared if layer.name == "basis")
    assert basis.log10_p < -50
    assert (result.verdict, result.log10_p) == ("not distinguished", 0)
