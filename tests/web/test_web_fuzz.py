"""Whatever the API's own description allows, and more, no request makes it fail."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance

from stream_app.web.api import create_api
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings
from tests.web.api_client import ApiClient

EXAMPLES = 15
"""For each operation: enough to try every parameter's edges, few enough for every run of the tests."""
TYPES = ("application/json", "application/problem+json", "text/html")
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_requests_made_from_the_description_never_fail(model: ReadModel) -> None:
    api = create_api(model, WebSettings(requests_per_second=1e6))
    described = schemathesis.openapi.from_asgi("/openapi.json", api, headers={"Host": "localhost"})
    # A stream has no end.
    found = described.exclude(path="/v1/changes/stream").get_all_operations()
    operations = [result.ok() for result in found if isinstance(result, Ok)]
    assert len(operations) >= 11
    for operation in operations:
        ask_anything(operation)


def ask_anything(operation: Any) -> None:
    statuses = set()

    @fuzzed
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        kept = {name: value for name, value in (case.headers or {}).items() if name.lower() != "accept"}
        case.headers = {**kept, "Host": "localhost"}
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response, checks=[not_a_server_error, response_schema_conformance])
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"]

    ask()
    assert statuses


CUSTOMER_IDS = st.one_of(
    st.text(min_size=1, max_size=80),
    st.binary(min_size=1, max_size=300).map(lambda part: part.decode("latin-1")),
    st.sampled_from(
        ["<script>", "a/history", "/why", "%2F", "%00", "..%2f", "'; DROP TABLE changes;--", "\u202e", "why"]
    ),
)


@fuzzed
@given(name=CUSTOMER_IDS, part=st.sampled_from(["", "/history", "/why"]), is_raw=st.booleans())
def test_no_customer_id_makes_a_request_fail(client: ApiClient, name: str, part: str, is_raw: bool) -> None:
    path = quote(name, safe="/%" if is_raw else "")
    response = client.get(f"/v1/customers/{path}{part}")
    assert response.status_code in (200, 404, 422)
    assert response.headers["content-type"] in (
        "application/json",
        "application/problem+json",
        "text/html; charset=utf-8",
    )


@fuzzed
@given(cursor=st.one_of(st.text(max_size=80), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)))
@pytest.mark.parametrize(
    "path", ["/v1/changes", "/v1/segments/small/steady/customers", "/v1/customers/c00000020/history"]
)
def test_no_cursor_makes_a_request_fail(client: ApiClient, path: str, cursor: str) -> None:
    assert client.get(path, params={"cursor": cursor}).status_code in (200, 422)


@fuzzed
@given(since=st.text(max_size=45), until=st.text(max_size=45))
@pytest.mark.parametrize("path", ["/v1/changes", "/v1/migrations", "/v1/populations"])
def test_no_time_makes_a_request_fail(client: ApiClient, path: str, since: str, until: str) -> None:
    assert client.get(path, params={"since": since, "until": until}).status_code in (200, 422)


@pytest.mark.parametrize("since", ["1970-01-01", "2105-12-31", "0001-01-01", "9999-12-31", "1e300", "2024-02-30"])
@pytest.mark.parametrize("until", ["1970-01-01", "2105-12-31T23:59:59Z"])
def test_times_far_away_are_answered(client: ApiClient, since: str, until: str) -> None:
    for path in ("/v1/populations", "/v1/migrations", "/v1/changes"):
        assert client.get(path, params={"since": since, "until": until}).status_code in (200, 422)
