"""The reference scripts' way, written afresh from its description: the peer of `bench_dropin.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.metrics import auc, roc_curve
from torch import Tensor, nn


def correlation(m: Tensor, n: Tensor) -> Tensor:
    m, n = F.normalize(m, dim=-1), F.normalize(n, dim=-1)
    return 1 - torch.mm(m, n.transpose(0, 1))


def half_correlation(m: Tensor, n: Tensor) -> Tensor:
    return correlation(m, n) / 2


def pairwise(x: Tensor) -> Tensor:
    squares = torch.sum(torch.pow(x, 2), dim=1)
    return squares[:, None] + squares[None, :] - 2 * torch.matmul(x, x.transpose(0, 1))


def correlation_dist(x: Tensor) -> Tensor:
    return torch.exp(-pairwise(F.normalize(x, dim=-1)))


def outputs_of(model: nn.Module, loader: Any, each: Callable[[Tensor], Tensor] = Tensor.detach) -> Tensor:
    model.eval()
    outputs = []
    for x, _ in loader:
        outputs.append(each(model(x)))
    return torch.cat(outputs, 0)


def cal_cor(model: nn.Module, loader: Any) -> Tensor:
    outputs = outputs_of(model, loader)
    return correlation(outputs, outputs)


def output_to_label(output: Tensor) -> Tensor:
    chosen = torch.argmax(output, dim=1)
    values = 0.01 * torch.ones(output.shape)
    for i in range(output.shape[0]):
        values[i, chosen[i]] = 1
    return torch.softmax(values, dim=-1)


def cal_cor_onehot(model: nn.Module, loader: Any) -> Tensor:
    outputs = outputs_of(model, loader, output_to_label)
    return half_correlation(outputs, outputs)


def cal_correct(model: nn.Module, loader: Any) -> float:
    model.eval()
    right = total = 0
    for x, y in loader:
        predicted = torch.max(model(x.type(torch.FloatTensor)), 1)[1].squeeze()
        right += (predicted == y.long()).sum().item()
        total += predicted.shape[0]
    return right / total


def feature(model: nn.Module, loader: Any) -> Tensor:
    model.eval()
    for x, _ in loader:
        answer = model(x)
    return answer.detach()


def similarity(a: Tensor, b: Tensor) -> Tensor:
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1).transpose(0, 1)
    total: Any = 0
    for i in range(a.shape[0]):
        total += torch.abs(1 - torch.mm(a[i, :].unsqueeze(0), b[:, i].unsqueeze(1)))
    return total


def calculate_auc(near: Any, far: Any) -> float:
    truth, scores = [], []
    for _ in range(len(near)):
        truth.append(0)
    for _ in range(len(far)):
        truth.append(1)
    scores.extend(near)
    scores.extend(far)
    false_rate, true_rate, _ = roc_curve(truth, scores)
    return float(auc(false_rate, true_rate))


def differences(outputs: list[Tensor]) -> Tensor:
    matrices = []
    for model in outputs:
        matrices.append(correlation(model, model))
    differences = torch.zeros(len(outputs))
    for i in range(len(outputs) - 1):
        entries = matrices[0].shape[0] * matrices[0].shape[1]
        differences[i] = torch.sum(torch.abs(matrices[i + 1] - matrices[0])) / entries
    return differences[:-1]
