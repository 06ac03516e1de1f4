"""The scripts' own functions: each finds its counterpart, and what only shares a name is kept."""

import types

import pytest
import torch
from support import script_formulas as plain
from support.reference_scripts import run

from sac_fast.compat import patched
from sac_fast.compat.deferred import DeferredMatrix


def test_functions_that_only_share_a_name_are_kept(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "def correlation(m, n):\n    return m @ n.T\n"
        "def pairwise_euclid_distance(A):\n    return torch.cdist(A, A).double() ** 2\n"
        "def similarity(output1, output2):\n    raise KeyError('mine')\n"
        "def feature(model):\n    return 'other signature'\n"
        "def cal_correct(model, dataloader=None):\n    return 'default'\n"
        "def calculate_auc(*lists):\n    return 'any number'\n"
        "class correlation_dist:\n    pass\n"
        "def output_to_label(output):\n    return 0\n"
        "if True:\n    def correlation_dist(A):\n        return 'not at the top level'\n"
        "x = torch.ones(2, 3)\n"
        "print(correlation(x, x).tolist(), pairwise_euclid_distance(x).dtype, correlation_dist(x))\n"
        "print(feature(1), cal_correct(1, 2), calculate_auc())\n"
        "try:\n    similarity(x, x)\nexcept KeyError as error:\n    print(error)\n"
    )
    out, lines = run(script, capsys=capsys)
    assert out == (
        "[[3.0, 3.0], [3.0, 3.0]] torch.float64 not at the top level\nother signature default any number\n'mine'\n"
    )
    assert lines[1:] == [
        "__main__.correlation kept, since its values on the example are others",
        "__main__.pairwise_euclid_distance kept, since its values on the example are others",
        "__main__.similarity kept, since it fails on the example: KeyError: 'mine'",
        "found, but never called: __main__.output_to_label",
    ]


def cor(correlation, each=torch.Tensor.detach):
    def cal_cor(model, dataloader):
        outputs = torch.cat([each(model(x.cuda())) for x, _ in dataloader])
        return correlation(outputs, outputs)

    return cal_cor


def last(model, dataloader):
    return plain.answers(model, list(dataloader)[-1:])


# name, a script's own function, whose counterpart is the same
OWN = [
    ("correlation", plain.correlation_sac_jc, "sac_jc"),
    ("correlation", plain.correlation_sac, "sac"),
    ("pairwise_euclid_distance", plain.pairwise_euclid_distance, "sac_jc"),
    ("correlation_dist", plain.correlation_dist, "sac_jc"),
    ("output_to_label", plain.output_to_label, "sac"),
    ("similarity", plain.similarity, "sac_jc"),
    ("calculate_auc", plain.calculate_auc, "sac_jc"),
    ("cal_cor", cor(plain.correlation_sac_jc), "sac_jc"),
    ("cal_cor", cor(plain.correlation_sac), "sac"),
    ("cal_cor_onehot", cor(plain.correlation_sac, plain.output_to_label), "sac"),
    ("cal_correct", plain.cal_correct, "sac_jc"),
    ("feature", last, "sac_jc"),
]


@pytest.mark.parametrize(("name", "own", "module"), OWN, ids=[f"{module}.{name}" for name, _, module in OWN])
def test_every_function_finds_its_counterpart(name, own, module, capsys):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(11, 12, generator=generator), torch.arange(11) % 3
    model, other = torch.nn.Linear(12, 3), torch.nn.Linear(12, 3)
    batches = [(x[:8], y[:8]), (x[8:], y[8:])]
    cells = {name: types.FunctionType(own.__code__, own.__globals__, name, closure=own.__closure__)}
    more = {"correlation": (x, x), "similarity": (x, x.flip(0)), "calculate_auc": ([1.0, 2.0], [1.5, 3.0])}
    arguments = more.get(name, (model, batches) if own.__code__.co_varnames[0] == "model" else (x,))
    with patched(cells):
        got, expected = cells[name](*arguments), own(*arguments)
        torch.testing.assert_close(torch.as_tensor(got).clone(), torch.as_tensor(expected).detach(), rtol=0, atol=1e-5)
        if name.startswith("cal_cor") and name != "cal_correct":
            a, b = cells[name](model, batches), cells[name](other, batches)
            difference = torch.sum(torch.abs(a - b))
            assert (type(a), a._matrix, b._matrix) == (DeferredMatrix, None, None)
            torch.testing.assert_close(difference, torch.sum(torch.abs(own(model, batches) - own(other, batches))))
    assert f".{name} replaced by sac_fast.compat.{module}.{name}\n" in capsys.readouterr().err
