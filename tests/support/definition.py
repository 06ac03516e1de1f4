"""The formulas of DESIGN §2 written out in float64 NumPy and SciPy, independent of the package."""

import math

import numpy as np
import scipy.spatial.distance
import scipy.stats

SIGMA = math.sqrt(0.5)  # 2σ² = 1


def scaled(x):
    largest = np.abs(x).max(axis=1, keepdims=True)
    return x / np.where(largest > 0, largest, 1)


def rows(outputs, metric):
    x = scaled(np.asarray(outputs, dtype=np.float64))
    if metric == "spearman":
        x = scipy.stats.rankdata(x, axis=1)
    if metric in ("pearson", "spearman"):
        constant = (x == x[:, :1]).all(axis=1, keepdims=True)
        x = scaled(np.where(constant, 0, x - x.mean(axis=1, keepdims=True)))
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return x / np.where(norm > 0, norm, 1)


def matrix(outputs, metric="cosine", sigma=SIGMA):
    x = rows(outputs, metric)
    if metric == "rbf":
        return np.exp(-scipy.spatial.distance.cdist(x, x, "sqeuclidean") / (2 * sigma**2))
    return x @ x.T


def compare(c_a, c_b, comparison="l1"):
    n = len(c_a)
    if comparison == "l1":
        return np.abs(c_a - c_b).mean()
    if comparison == "l2":
        return np.sqrt(((c_a - c_b) ** 2).mean())
    if comparison == "rsa":
        upper = np.triu_indices(n, 1)
        return 1 - np.corrcoef(c_a[upper], c_b[upper])[0, 1]
    centring = np.eye(n) - 1 / n
    h_a, h_b = centring @ c_a @ centring, centring @ c_b @ centring
    return 1 - (h_a * h_b).sum() / np.linalg.norm(h_a) / np.linalg.norm(h_b)


def distance(a, b, metric="cosine", comparison="l1", sigma=SIGMA):
    return compare(matrix(a, metric, sigma), matrix(b, metric, sigma), comparison)
