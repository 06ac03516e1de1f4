"""How often independent networks are called related, and changed copies are not, by the code that is shipped.

Sixty-four small networks of each family learn one task, each from first values and samples of its own: all pairs of
them are honest. Untrained ones and copies of many kinds are tested beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from weights_copies import COPIES, KERNELS, add_noise, reorder
from weights_training import FAMILIES, Task, build, train

import sac_fast
from sac_fast.bench.results import start_result, write_json
from sac_fast.verify.weights.ancestor import measure_divergence
from sac_fast.verify.weights.arrays import open_any
from sac_fast.verify.weights.reordered import measure_agreement
from sac_fast.verify.weights.rules import describe_layers
from sac_fast.verify.weights.run import judge_weights

RATES = (0.05, 0.01, 0.001)
UNTRAINED = 16
REORDERED = 16
SIBLINGS = 12
COPIED = 4  # models of a family of which copies are made
STEPS = 60
FINE_TUNING = 12  # steps
RESULT = Path(__file__).parent / "results" / "weights_simulation.json"
HEADS = (
    "head",
    "classifier.weight",
    "classifier.bias",
    "classifier.1.",
    "classifier.4.",
    "fc.",
    "lm_head",
    "outc",
    "decoder",
)


def to_numpy(state):
    return {name: value.numpy() for name, value in state.items()}


def trained_models(family, count, steps, folder):
    """State dicts of a family's models; read from the folder if they are there."""
    paths = [folder / family / f"{number}.safetensors" for number in range(count)]
    if not all(path.exists() for path in paths):
        task = Task.make(FAMILIES[family][1])
        states, losses = train([build(family, 10_000 + number) for number in range(count)], task, steps, seed=1)
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, state in zip(paths, states, strict=True):
            save_file(to_numpy(state), path)
        print(f"{family}: trained, mean loss {np.mean(losses):.3f}", file=sys.stderr)
    names = list(build(family, 0).state_dict())
    return [{name: loaded[name] for name in names} for loaded in map(load_file, paths)]


def test_pairs(states):
    """All pairs of independent models: how often layers and verdicts reject."""
    layers, verdicts, inconclusive, by_model = [], [], 0, np.zeros(len(states), dtype=int)
    with contextlib.ExitStack() as stack:
        models = [stack.enter_context(open_any(state, "state")) for state in states]
    for i, j in itertools.combinations(range(len(states)), 2):
        result = judge_weights(models[i], models[j], min(RATES))  # what weights_test does once both are open
        inconclusive += result.verdict == "inconclusive"
        verdicts.append(result.log10_p)
        layers += [layer.log10_p for layer in result.compared]
        by_model[[i, j]] += result.verdict in ("weights related", "identical")
    return {
        "pairs": len(verdicts),
        "layers": len(layers),
        "layer_rejections": rates(layers),
        "verdict_rejections": rates(verdicts),
        "smallest_layer_log10_p": min(layers),
        "smallest_log10_p": min(verdicts),
        "inconclusive": inconclusive,
        "models_accused": int((by_model > 0).sum()),
    }


def rates(log10_p):
    return {f"{rate:g}": float(np.mean(np.array(log10_p) <= np.log10(rate))) for rate in RATES}


def fine_tuned(family, states):
    """Copies that were trained on: the same task, another task, another task with a head of its own first."""
    kind = FAMILIES[family][1]
    models = []
    for number, state in enumerate(states):
        model = build(family, 50_000 + number)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        models.append(model)
    heads = [name for name, _ in models[0].named_parameters() if any(part in name for part in HEADS)]
    rest = tuple(name for name, _ in models[0].named_parameters() if name not in heads)
    same, other = Task.make(kind), Task.make(kind, seed=1)
    made = {
        "fine-tuned, same task": train(models, same, FINE_TUNING, seed=2, rate=1e-3)[0],
        "fine-tuned, another task": train(models, other, FINE_TUNING, seed=3, rate=3e-3)[0],
    }
    if heads:
        fresh = build(family, 60_000).state_dict()
        for model in models:
            model.load_state_dict({name: fresh[name] for name in heads}, strict=False)
        alone = train(models, other, FINE_TUNING, seed=4, rate=3e-3, frozen=rest)[0]
        made["new head, trained alone"] = alone
        made["new head, all trained"] = train(models, other, FINE_TUNING, seed=5, rate=3e-3)[0]
    return {name: [to_numpy(state) for state in copies] for name, copies in made.items()}


def test_copies(family, states):
    """Changed copies of some models: how many are found at p ≤ 1e-6, or as identical."""
    states = states[:COPIED]
    cases = fine_tuned(family, states)
    rng = np.random.default_rng(0)
    for name, change in COPIES.items():
        copies = [change(state, rng) for state in states]
        unlike = any(value.ndim >= KERNELS for value in states[0].values()) or not name.startswith(("kernels", "batch"))
        if unlike:
            cases[name] = copies
    found = {}
    for name, copies in cases.items():
        results = [sac_fast.weights_test(state, copy) for state, copy in zip(states, copies, strict=True)]
        found[name] = {
            "cases": len(results),
            "found": sum(result.log10_p <= -6 or result.verdict == "identical" for result in results),
            "identical": sum(result.verdict == "identical" for result in results),
            "largest_log10_p": max(result.log10_p for result in results),
            "fewest_layers": min(len(result.compared) for result in results),
        }
    return found


def test_reordered(family, states):
    """Hidden units permuted and rescaled: how far they agree, beside all honest pairs of the family's first models."""
    comparable = [layers_of(state) for state in states[:REORDERED]]
    honest = [
        measure_agreement(ours, theirs).share
        for (i, ours), (j, theirs) in itertools.product(enumerate(comparable), enumerate(comparable))
        if i != j
    ]
    rng = np.random.default_rng(1)
    copies = [reorder(family, state, rng) for state in states[:REORDERED]]
    if copies[0] is None:
        return None
    noisy = [{name: add_noise(value, rng) for name, value in copy.items()} for copy in copies]
    shares = {}
    for name, made in (("permuted and rescaled", copies), ("and 5 % noise", noisy)):
        shares[name] = [measure_agreement(a, layers_of(copy)).share for a, copy in zip(comparable, made, strict=True)]
    threshold = float(np.quantile(honest, 0.99, method="higher"))
    plain = [sac_fast.weights_test(state, copy).log10_p for state, copy in zip(states, copies, strict=False)]
    return {
        "honest_pairs": len(honest),
        "honest_quantiles": {f"{q:g}": float(np.quantile(honest, q)) for q in (0.5, 0.9, 0.99, 1)},
        "copies": {
            name: {"cases": len(found), "found_at_1_percent": sum(share > threshold for share in found),
                   "smallest": min(found)}
            for name, found in shares.items()
        },
        "found_by_plain_test": sum(log10_p <= -6 for log10_p in plain),
    }  # fmt: skip


def test_ancestor(family, states):
    """Models fine-tuned from one ancestor, each alone, and models fine-tuned from those: how much way they share."""
    base, task = states[0], Task.make(FAMILIES[family][1])
    model = build(family, 0)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in base.items()})
    siblings = train([model] * SIBLINGS, task, FINE_TUNING, seed=6, rate=1e-3)[0]
    parents = [build(family, number) for number in range(SIBLINGS)]
    for parent, state in zip(parents, siblings, strict=True):
        parent.load_state_dict(state)
    children = train(parents, task, FINE_TUNING, seed=7, rate=1e-3)[0]
    first, second = ([named_layers(to_numpy(state)) for state in made] for made in (siblings, children))
    ancestor = named_layers(base)
    honest = [measure_divergence(a, b, ancestor) for a, b in itertools.permutations(first, 2)]
    copied = [measure_divergence(a, b, ancestor) for a, b in zip(first, second, strict=True)]
    return {
        "siblings": SIBLINGS,
        "honest_pairs": len(honest),
        "honest_cosine": {f"{q:g}": float(np.quantile([pair.cosine for pair in honest], q)) for q in (0, 0.5, 0.99, 1)},
        "copied_cosine": [min(pair.cosine for pair in copied), max(pair.cosine for pair in copied)],
        "direction_right": sum(pair.part_of_a > pair.part_of_b for pair in copied),
    }


def named_layers(state):
    return {layer.name: layer for layer in layers_of(state)}


def layers_of(state):
    with open_any(state, "state") as opened:
        return [layer for layer in describe_layers(opened.arrays) if layer.use.left_out is None]


def simulate(families, count, steps, folder):
    """The figures of some families; what the folder has already is taken from there."""
    figures = {}
    for family in families:
        path = folder / f"{family}.json"
        if not path.exists():
            states = trained_models(family, count, steps, folder)
            started = time.process_time()
            untrained = [
                to_numpy(build(family, 20_000 + number).state_dict()) for number in range(min(count, UNTRAINED))
            ]
            found = {"models": count, "steps": steps, "trained": test_pairs(states), "untrained": test_pairs(untrained)}
            found |= {"copies": test_copies(family, states), "reordered": test_reordered(family, states)}
            found["ancestor"] = test_ancestor(family, states)
            path.write_text(json.dumps(found | {"processor_seconds": round(time.process_time() - started)}))
            print(f"{family}: tested", file=sys.stderr)
        figures[family] = json.loads(path.read_text())
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--count", type=int, default=64, help="models of a family")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    parser.add_argument("--models", type=Path, required=True, help="folder of trained models and figures, resumed")
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.train_only:
        for family in options.families:
            trained_models(family, options.count, options.steps, options.models)
        return
    result = start_result("sac_fast simulation of the weights test", 1)
    started = time.perf_counter()
    result["rates"] = list(RATES)
    result["families"] = simulate(options.families, options.count, options.steps, options.models)
    result["seconds"] = time.perf_counter() - started
    write_json(result, options.out)


if __name__ == "__main__":
    main()
