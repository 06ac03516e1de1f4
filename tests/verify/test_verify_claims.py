"""Claims of a model's origin against what the weights show."""

from typing import Any

import numpy as np
import pytest

from sac_fast import weights_test
from sac_fast.verify.claims import compare_claims

SIZES = ((16, 27), (32, 16), (32, 32), (10, 32))


def network(seed: int, layers: int = 4, noise: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    arrays = {f"{i}.weight": rng.normal(size=size) for i, size in enumerate(SIZES[:layers])}
    return {name: array + noise * rng.normal(size=array.shape) for name, array in arrays.items()}


RELATED = weights_test(network(0, noise=0.05), network(0))
UNRELATED = weights_test(network(0), network(1))
TOO_SMALL = weights_test(network(0, 2), network(1, 2))


def claims(*names: str, base: str | None = None) -> dict[str, Any]:
    models = [{"name": base, "relation": None, "source": "README.md"}] if base else []
    return {"names": list(names), "base_models": models}


@pytest.mark.parametrize(
    ("result", "expected"),
    [(RELATED, "consistent"), (UNRELATED, "contradicted"), (TOO_SMALL, "not decided")],
)
def test_a_named_base_model(result: Any, expected: str) -> None:
    for other in (claims("Base_V2"), claims("model", "base.v2")):
        (found,) = compare_claims(result, claims("tuned", base="me/base-v2"), other)
        assert (found.verdict, found.source) == (expected, "README.md")
        (found,) = compare_claims(result, other, claims("tuned", base="me/base-v2"))
        assert found.verdict == expected
        assert found.claim == "b was made from me/base-v2"


def test_another_base_model_is_not_decided() -> None:
    for result in (RELATED, UNRELATED):
        (found,) = compare_claims(result, claims("tuned", base="me/other"), claims("base"))
        assert found.verdict == "not decided"


def test_a_configuration_that_names_the_model_itself_claims_nothing() -> None:
    assert compare_claims(RELATED, claims("tuned", base="me/tuned"), claims("base")) == ()


@pytest.mark.parametrize(
    ("name", "base", "claimed"),
    [
        ("chgnet_r2scan_transfer_learning_e15f36s161m23", "chgnet_0.3.0_e29f68s314m37", True),
        ("bert-base-squad", "bert-base", True),
        ("llama-7b-chat", "llama-7b", True),
        ("chgnet_0.2.0", "chgnet_0.3.0", False),
        ("bert-base", "bert-base", False),
        ("bert-large", "bert-base", False),
        ("model-tuned", "model", False),
        ("v2-tuned", "v2", False),
    ],
)
def test_names_that_continue_another(name: str, base: str, claimed: bool) -> None:
    found = compare_claims(RELATED, claims(name), claims(base))
    assert [claim.verdict for claim in found] == (["consistent"] if claimed else [])
    # A name does not say of which version a model was made.
    found = compare_claims(UNRELATED, claims(name), claims(base))
    assert [claim.verdict for claim in found] == (["not decided"] if claimed else [])
