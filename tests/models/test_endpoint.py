"""What is said of a service: addresses, tables, secrets, and how its answers are read."""

import pytest

from sac_fast.errors import ModelError
from sac_fast.models import Endpoint, Secrets
from sac_fast.models.endpoint import endpoint_from_table
from sac_fast.models.endpoint_answer import AnswerError, read_answer

ANSWERS = [
    ("cat", "labels", [0.0]),
    (1, "labels", [1.0]),
    (["dog"], "labels", [1.0]),
    ({"label": "dog"}, "labels", [1.0]),
    ([{"label": "cat", "score": 0.2}, {"label": "dog", "score": 0.8}], "labels", [1.0]),
    ([{"label": "dog", "score": 0.8}], "top-k", [0.0, 0.8]),
    ({"dog": 0.8}, "top-k", [0.0, 0.8]),
    ([[0.2, 0.8]], "probabilities", [0.2, 0.8]),
    ({"dog": 3, "cat": -1}, "logits", [-1.0, 3.0]),
]


@pytest.mark.parametrize(("answer", "form", "row"), ANSWERS)
def test_answers_are_read(answer, form, row):
    assert read_answer(answer, form, ("cat", "dog")) == row


WRONG = [
    ("cow", "labels", "one of the 2 classes in labels, got 'cow'"),
    (2, "labels", "below 2"),
    (-1, "labels", "below 2"),
    (0.5, "labels", "a name or a number"),
    (True, "labels", "a name or a number"),
    (None, "labels", "a name or a number"),
    (float("nan"), "labels", "a name or a number"),
    (10**400, "labels", "a name or a number"),  # JSON has integers that no float holds
    ([10**400, 1], "logits", "finite numbers"),
    ([{"label": "dog", "score": -(10**400)}], "top-k", "finite numbers"),
    ([{"label": "dog", "score": 10**400}], "labels", "finite numbers"),
    ([], "top-k", "a list of"),
    ([{"label": "dog", "score": 0.8}] * 2, "top-k", "once"),
    ([{"label": "cow", "score": 0.8}], "top-k", "2 classes in labels"),
    ([{"label": "dog"}], "top-k", "label"),
    ({"dog": 1.0}, "probabilities", "each of 2 classes, got 1"),
    ([0.1, 0.2, 0.7], "probabilities", "2 numbers"),
    ("x" * 1000, "labels", "…"),
]


@pytest.mark.parametrize(("answer", "form", "message"), WRONG)
def test_other_answers_are_refused(answer, form, message):
    with pytest.raises(AnswerError, match=message) as caught:
        read_answer(answer, form, ("cat", "dog"))
    assert len(str(caught.value)) < 300


def test_names_need_labels():
    for answer, form in (("cat", "labels"), ({"cat": 1.0}, "logits")):
        with pytest.raises(AnswerError, match="labels must be given"):
            read_answer(answer, form, ())


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "https://user:pass@example.org/", "https://example.org/#a", "https://",
        "https://example.org\\@evil.org/", "https://exa mple.org/", "http://127.0.0.1.evil.org/", "http://[::2]/", None,
        "https://example.org:99999/", "http://localhost.evil.org", "https://example.org/\r\nX: y", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_addresses_that_could_leak_are_refused(url):
    with pytest.raises(ModelError, match="url must"):
        Endpoint(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.org", "example.org"),
        ("http://localhost:8000/x", "localhost"),
        ("http://127.9.9.9/", "127.9.9.9"),
        ("http://[::1]:1/", "[::1]"),
    ],
)
def test_addresses_of_services(url, host):
    assert Endpoint(url).host == host


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "soap"}, "protocol must be one of"),
        ({"send": "smoke"}, "send must be one of"),
        ({"output_form": "embeddings"}, "output_form must be one of"),
        ({"labels": ["a", "a"]}, "different names"),
        ({"labels": "ab"}, "list of names"),
        ({"protocol": "hugging-face"}, "labels must be given"),
        ({"headers": {"Host": "other"}}, "names other than"),
        ({"headers": {"A": "b\r\nC: d"}}, "one line"),
        ({"rate": 0}, "rate must be in"),
        ({"concurrency": 1000}, "concurrency must be in"),
        ({"timeout": None}, "timeout must be in"),
        ({"retries": 1.5}, "retries must be in"),
        ({"colour": "red"}, "must have keys of"),
        ({"mean": "0.5"}, "mean must be numbers"),
        ({"url": 3}, "must have a url"),
    ],
)
def test_wrong_endpoints_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        endpoint_from_table({"url": "https://example.org", **change})


def test_a_table_may_say_the_preprocessing():
    made = endpoint_from_table({"url": "https://example.org", "send": "tensor", "size": [8, 8], "std": [0.5]})
    assert made.preprocessing.size == (8, 8)
    assert made.key != endpoint_from_table({"url": "https://example.org", "send": "tensor", "size": [8, 9]}).key


def test_limits_and_secrets_leave_the_key_as_it_is():
    table = {"url": "https://example.org", "headers": {"A": "{secret:KEY}"}}
    assert endpoint_from_table(table).key == endpoint_from_table({**table, "rate": 3, "timeout": 9}).key


@pytest.mark.parametrize("text", ["hunter2", "KEY", "KEY=a b", "=example.org", "KEY=https://example.org"])
def test_a_secret_given_by_mistake_is_not_repeated(text):
    with pytest.raises(ModelError, match="another form") as caught:
        Secrets([text], {"KEY": "x"})
    assert text not in str(caught.value)


def test_secrets_must_be_in_the_environment():
    with pytest.raises(ModelError, match="no such variable"):
        Secrets(["KEY=example.org"], {})
    with pytest.raises(ModelError, match="other characters"):
        Secrets(["KEY=example.org"], {"KEY": "a\r\nb"})
