"""The scripts' HDF5 files, and what the scripts read from them."""

import numpy as np
import torch


def images(n=5, channels=3, height=6, width=4, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).random((n, channels, height, width)).astype(dtype)


def as_the_script_reads(data, item, *, nhwc, mean=None, std=None):
    """uint8 of 255 x, an image at a time, and then what torchvision's ToPILImage and ToTensor make of it."""
    image = np.array(data[item] * 255, dtype="uint8")
    if nhwc:
        image = np.transpose(image, [2, 0, 1])
    image = torch.tensor(image).to(torch.float32).div(255)
    if mean is not None:
        image = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    return image


CIFAR = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
