"""`--since`: moments as stores have them."""

import pytest
import typer
from support.store_models import PROBES, result

from sac_fast.cli.checks import parse_moment
from sac_fast.store import ModelStore


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T12:30", "2026-01-31T12:30:00+00:00"),
        ("2026-01-31T12:30:05+02:00", "2026-01-31T10:30:05+00:00"),
    ],
)
def test_moments_are_those_of_utc(text, moment):
    assert parse_moment(text, "--since") == moment


def test_what_is_no_moment_is_refused():
    with pytest.raises(typer.BadParameter, match=r"must be a date or a time.*yesterday"):
        parse_moment("yesterday", "--since")


def test_models_since_a_moment(tmp_path):
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        store.add_results([result(1), result(2), result(3)])
        store.connection.execute(
            "UPDATE visits SET recorded_at = '2025-06-01T00:00:00+00:00' WHERE name = 'model-0002'"
        )
        assert store.names_since("2025-06-01T00:00:01+00:00", PROBES) == ["model-0001", "model-0003"]
        assert store.names_since("2025-06-01T00:00:00+00:00", PROBES) == ["model-0001", "model-0002", "model-0003"]
        assert store.names_since("2999-01-01T00:00:00+00:00", PROBES) == []
