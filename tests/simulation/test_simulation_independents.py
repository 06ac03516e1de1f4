"""Warnings of simulated independents that are no fair nulls."""

import dataclasses

import pytest
import torch
from support.labelled_zoos import make_zoo

from sac_fast import Fingerprint, FingerprintError
from sac_fast.simulation.independents import independent_warnings


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"), independents=24, thieves=1)


def with_accuracy(zoo, kind, accuracy):
    members = (
        dataclasses.replace(member, accuracy=accuracy if member.origin == kind else 0.9) for member in zoo.members
    )
    return dataclasses.replace(zoo, members=tuple(members))


def own(zoo, share):
    """Independents that share a part of the source's outputs."""
    source = zoo.load_fingerprint("plain", "source")
    generator = torch.Generator().manual_seed(0)
    return [
        Fingerprint(
            share * source.outputs + torch.randn(80, 5, generator=generator), {**source.provenance, "name": "n"}
        )
        for _ in range(12)
    ]


def test_less_accurate_independents_are_warned_of(zoo):
    (warning,) = independent_warnings(with_accuracy(zoo, "other-data", 0.8))
    assert warning.startswith("independents of the kind other-data are less accurate (80.0%) than the source (90.0%)")
    assert independent_warnings(with_accuracy(zoo, "other-data", 0.86)) == []


def test_independents_that_are_told_from_ones_own_are_warned_of(zoo):
    fair = with_accuracy(zoo, "other-data", 0.9)
    found = independent_warnings(fair, own(zoo, 2.0))
    assert len(found) == 3
    assert all("are told apart from your own 12" in text and "farther from the source" in text for text in found)
    others = [zoo.load_fingerprint("plain", f"independent-{i}") for i in range(24)]
    assert independent_warnings(fair, others) == []


def test_own_independents_must_be_on_probes_of_the_zoo(zoo):
    elsewhere = Fingerprint(torch.randn(80, 5), {"name": "mine", "probe_hash": "sha256:" + "0" * 64})
    with pytest.raises(FingerprintError, match="'mine' must be on probes of the zoo"):
        independent_warnings(zoo, [elsewhere])
