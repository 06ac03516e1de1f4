"""Scripts of the shape of the reference scripts, and how they are run."""

from sac_fast.compat import run_script

# A neighbour of the script: the dataset class.
READER = """
import os
import h5py
import numpy as np
import torch
IMPORTS
from torch.utils.data import Dataset

to_tensor = TRANSFORM


class dataset_test(Dataset):
    def __init__(self, name):
        super(dataset_test, self).__init__()
        stored = h5py.File(os.path.join("data", name), "r")
        self.images, self.labels = np.array(stored["/data"]), np.array(stored["/label"])

    def __len__(self):
        return self.labels.shape[0]

    def __getitem__(self, item):
        picture = np.array(self.images[item] * 255, dtype="uint8")
        return [to_tensor(torch.tensor(picture)), torch.tensor(self.labels[item])]
"""
PLAIN_READER = READER.replace("IMPORTS", "").replace("TRANSFORM", "lambda picture: picture.to(torch.float32).div(255)")

# Another neighbour: the models, as a function of a number and a kind.
LOADER = """
import torch
from torch import nn


class FeatureHook():
    def __init__(self, module):
        self.hook = module.register_forward_hook(self.hook_fn)

    def hook_fn(self, module, input, output):
        self.output = output

    def close(self):
        self.hook.remove()


def load_model(num, mode):
    kinds = ["teacher", "kd", "label", "irrelevant", "adversarial", "finetune", "prune"]
    noise = [0, 0.5, 0.7, 0.8, 0.75, 0.1, 0.3][kinds.index(mode)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 7))
    for seed, scale in [(0, 1.0), (1000 * kinds.index(mode) + num + 1, noise)]:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.data = (seed > 0) * parameter.data + scale * torch.randn(parameter.shape, generator=generator)
    if num == 0:
        torch.save(model.state_dict(), "model.pth")
        model.load_state_dict(torch.load("model.pth"))
    return model
"""

# The script: its own functions, all matrices at once, seven groups of models.
SCRIPT = """
import sys
import types
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from sklearn.metrics import roc_curve, auc
from readers import dataset_test
from loading import load_model, FeatureHook


def correlation(m, n):
    a = F.normalize(m, dim=-1)
    b = F.normalize(n, dim=-1).transpose(0, 1)
    return (1 - torch.mm(a, b))HALF


def cal_cor(model, dataloader):
    model.eval()
    model = model.cuda()
    outputs = []
    for i, (x, y) in enumerate(dataloader):
        x, y = x.cuda(), y.cuda()
        outputs.append(model(x).detach())
    output = torch.concat(outputs, 0)
    model = model.cpu()
    return correlation(output, output)


def calculate_auc(list_a, list_b):
    truth = [0] * len(list_a) + [1] * len(list_b)
    score = []
    score.extend(list_a)
    score.extend(list_b)
    fpr, tpr, thresholds = roc_curve(truth, score)
    return auc(fpr, tpr)


def cal_corre(models, iter, augment_name):
    name = "data_augmented/" + augment_name + "_augment_s={}_f={}.h5".format(int(np.floor(iter / 2)) + 1, iter % 2)
    loader = DataLoader(dataset_test(name), shuffle=False, batch_size=16)
    cor_mats = []
    for i in range(len(models)):
        cor_mat = cal_cor(models[i], loader)
        cor_mats.append(cor_mat)
    diff = torch.zeros(len(models))
    for i in range(len(models) - 1):
        diff[i] = torch.sum(torch.abs(cor_mats[i + 1] - cor_mats[0])) / (cor_mat.shape[0] * cor_mat.shape[1])
    print("mean of the differences: %.4f" % diff[:-1].mean().item(), diff.shape)
    clean = diff[40:60]
    groups = [diff[:20], diff[20:40], diff[60:80], diff[80:90], diff[90:100], diff[100:105]]
    return [calculate_auc(group, clean) for group in groups]


if __name__ == "__main__":
    models = []
    counts = [("teacher", 1), ("kd", 20), ("label", 20), ("irrelevant", 20), ("adversarial", 20), ("finetune", 20)]
    for mode, count in counts + [("prune", 5)]:
        for i in range(count):
            models.append(load_model(i, mode))
    found = cal_corre(models, 0, "jpeg_compression")
    print("AUC_P:", found[0], "AUC_L:", found[1], "AUC_Adv:", found[2], "AUC_F:", found[3:5], "AUC_Prune:", found[5])
    print(sys.argv[1:], __file__, [type(m).__module__ for m in models[:1]])
"""


def run(script, *arguments, capsys, **options):
    """stdout and the lines of stderr of a script run in this process."""
    run_script(script, arguments, **options)
    captured = capsys.readouterr()
    return captured.out, [line.removeprefix("sac_fast.compat: ") for line in captured.err.splitlines()]
