"""The OpenAPI document: it is complete, and what the API does. (docs/openapi.json: tests/test_docs.py.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.checks import CHECKS, load_all_checks

from catalogd.web import security
from catalogd.web.api import OPENAPI, create_app
from catalogd.web.security import OPEN_PATHS, Gate, Rules
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
CHECKED = [check for check in CHECKS.get_all() if check.__name__ != "negative_data_rejection"]  # a test below
REJECTION = [check for check in CHECKS.get_all() if check.__name__ == "negative_data_rejection"]
# A request of the right form may still be refused: a query that can't be read, a name that is taken, what is
# not there. But never as one of another form (422), except for a photo whose file can't be read now.
UNDERSTOOD = [200, 202, 304, 400, 403, 404, 409]
REFUSED = [400, 404, 405, 414, 422]
PREVIEW = "/api/v1/photos/{photo_id}/preview"
EXAMPLES, WRONG_EXAMPLES = 8, 4  # a route
ENDLESS = "/api/v1/events"
WITH_TOKEN = {"Authorization": "Bearer right", "Host": "localhost"}

ROUTES = [(method, path) for method, path, _ in OPERATIONS if path != ENDLESS]
WITH_FORM = [  # which can be wrong
    (method, path)
    for method, path, operation in OPERATIONS
    if path != ENDLESS and ("parameters" in operation or "requestBody" in operation)
]


class OneToken:
    """The token that is right."""

    def is_right(self, shown: str) -> bool:
        return f"Bearer {shown}" == WITH_TOKEN["Authorization"]


@pytest.fixture(scope="module")
def gate(library: Library) -> Iterator[Gate]:
    """The application as it is served; wrong tokens lock nobody out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(security, "MOST_FAILURES", 10**9)
        yield Gate(library.client.app, Rules(OneToken(), 1 << 20))


@pytest.fixture(scope="module")
def described(gate: Gate) -> Any:
    checks = {"positive_data_acceptance": {"expected-statuses": UNDERSTOOD}}
    config = schemathesis.Config.from_dict({"checks": checks})
    return schemathesis.openapi.from_asgi(OPENAPI, gate, config=config, headers=WITH_TOKEN)


@pytest.fixture(scope="module")
def described_without_token(gate: Gate) -> Any:
    """So that requests are wrong in other ways than by their token."""
    config = schemathesis.Config.from_dict(
        {"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}}
    )
    bare = {key: value for key, value in DOCUMENT.items() if key != "security"}
    made = schemathesis.openapi.from_dict(bare, config=config)
    made.app = gate
    return made


def few(count: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_answers_are_as_described_whatever_is_asked(
    described: Any, library: Library, method: str, path: str
) -> None:
    """No answer is a fault of the server, none has a status, a type or a body that is not in the document.

    None is given without the token.
    """
    checks = [check for check in CHECKED if path != PREVIEW or check.__name__ != "positive_data_acceptance"]

    @few(EXAMPLES)
    @hypothesis.given(case=described[path][method.upper()].as_strategy(), exists=strategies.booleans())
    def check(case: Any, exists: bool) -> None:
        if exists:  # in the library: made up ids never are
            there = {"photo_id": library.id_of(library.real), "number": 1, "face": 1}
            case.path_parameters |= {name: there[name] for name in there if name in case.path_parameters}
        case.call_and_validate(checks=checks, headers=WITH_TOKEN)

    check()


@pytest.mark.parametrize(("method", "path"), WITH_FORM, ids=lambda part: part)
def test_what_has_another_form_is_refused(described_without_token: Any, method: str, path: str) -> None:
    operation = described_without_token[path][method.upper()]

    @few(WRONG_EXAMPLES)
    @hypothesis.given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def check(case: Any) -> None:
        case.call_and_validate(checks=REJECTION, headers=WITH_TOKEN)

    check()
