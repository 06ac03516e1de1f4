"""What the reference scripts compute, written out in plain PyTorch and independent of the package."""

import torch
import torch.nn.functional as F
from sklearn.metrics import auc, roc_curve


def correlation_sac_jc(m, n):
    m = F.normalize(m, dim=-1)
    n = F.normalize(n, dim=-1).transpose(0, 1)
    return 1 - torch.mm(m, n)


def correlation_sac(m, n):
    return correlation_sac_jc(m, n) / 2


def pairwise_euclid_distance(a):
    squares = torch.sum(torch.pow(a, 2), dim=1)
    columns = torch.reshape(torch.unsqueeze(squares, 0), [a.shape[0], 1])
    rows = torch.reshape(torch.unsqueeze(squares, 1), [1, a.shape[0]])
    return columns + rows - 2 * torch.matmul(a, a.transpose(0, 1))


def correlation_dist(a):
    return torch.exp(-pairwise_euclid_distance(F.normalize(a, dim=-1)))


def output_to_label(output):
    chosen = torch.argmax(output, dim=1)
    values = 0.01 * torch.ones(output.shape)
    for i in range(output.shape[0]):
        values[i, chosen[i]] = 1
    return torch.softmax(values, dim=-1)


def similarity(output1, output2):
    m = F.normalize(output1, dim=-1)
    n = F.normalize(output2, dim=-1).transpose(0, 1)
    total = 0
    for i in range(m.shape[0]):
        total = total + torch.abs(1 - torch.mm(m[i, :].unsqueeze(0), n[:, i].unsqueeze(1)))
    return total


def calculate_auc(list_a, list_b):
    truth = [0] * len(list_a) + [1] * len(list_b)
    fpr, tpr, _ = roc_curve(truth, [*list_a, *list_b])
    return auc(fpr, tpr)


def answers(model, dataloader):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(x) for x, _ in dataloader], 0)


def cal_correct(model, dataloader):
    model.eval()
    right = total = 0
    for x, y in dataloader:
        predicted = torch.max(model(x.type(torch.FloatTensor)), 1)[1].data.squeeze()
        right += (predicted == y.long()).sum().item()
        total += predicted.shape[0]
    return right / total


def differences(outputs, correlation=correlation_sac_jc):
    """The main loop: all matrices first, then mean |C_i − C_0|."""
    matrices = [correlation(o, o) for o in outputs]
    diff = torch.zeros(len(matrices))
    for i in range(len(matrices) - 1):
        entries = matrices[0].shape[0] * matrices[0].shape[1]
        diff[i] = torch.sum(torch.abs(matrices[i + 1] - matrices[0])) / entries
    return diff[:-1]
