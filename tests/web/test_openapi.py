"""The OpenAPI document: it is complete, and what the API does. (docs/openapi.json: tests/test_docs.py.)"""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.checks import CHECKS, load_all_checks

from catalogd.web.api import OPENAPI, create_app
from catalogd.web.security import OPEN_PATHS
from tests.web.library import Library

METHODS = ("get", "post", "put", "delete")
DOCUMENT = create_app(None).openapi()
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def test_the_document_is_served(library: Library) -> None:
    assert library.client.get(OPENAPI).json() == DOCUMENT


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=lambda part: str(part)[:60])
def test_every_route_is_described(method: str, path: str, operation: dict[str, Any]) -> None:
    assert method in METHODS
    assert operation["summary"].rstrip(".") == operation["summary"] != ""
    assert operation["description"]
    assert operation["tags"]
    answers = {status: answer for status, answer in operation["responses"].items() if status < "300"}
    assert answers
    for answer in answers.values():
        assert all(form != {"schema": {}} for form in answer["content"].values()), "an answer without a model"
    if path not in OPEN_PATHS:
        error = operation["responses"]["401"]["content"]["application/json"]["schema"]["$ref"]
        assert error == "#/components/schemas/ErrorAnswer"


def test_a_token_is_asked_for_everywhere_but_at_health() -> None:
    assert DOCUMENT["security"] == [{"token": []}]
    free = {path for _, path, operation in OPERATIONS if operation.get("security") == []}
    assert free == set(OPEN_PATHS) & set(DOCUMENT["paths"])


# ── the API does what the document says ───────────────────────────────────────────────────────

load_all_checks()
# What the document can't say: which token is right (tests/web/test_security.py has that), and that a query
# or an id of the right form may still be refused, as one of the wrong form may be taken.
LEFT_OUT = ("ignored_auth", "positive_data_acceptance", "negative_data_rejection", "missing_required_header")
KEPT = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]
EXAMPLES = 25  # a route
ENDLESS = "/api/v1/events"


ROUTES = [(method, path) for method, path, _ in OPERATIONS if path != ENDLESS]


@pytest.fixture(scope="module")
def described(library: Library) -> Any:
    return schemathesis.openapi.from_asgi(OPENAPI, library.client.app)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_answers_are_as_described_whatever_is_asked(
    described: Any, library: Library, method: str, path: str
) -> None:
    """No answer is a fault of the server, none has a status, a type or a body that is not in the document."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=described[path][method.upper()].as_strategy(), exists=strategies.booleans())
    def check(case: Any, exists: bool) -> None:
        if exists:  # in the library: made up ids never are
            there = {"photo_id": library.id_of(library.real), "number": 1, "face": 1}
            case.path_parameters |= {name: there[name] for name in there if name in case.path_parameters}
        case.call_and_validate(checks=KEPT)

    check()
