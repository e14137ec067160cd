"""Every error is a problem in one form, and every answer can be asked for again at little cost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stream_app.web.answers import Problem
from stream_app.web.api import create_api
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings
from tests.web.api_client import ApiClient
from tests.web.conftest import Shop
from tests.web.shop_log import TOPICS


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/customers/nobody", 404, "unknown_customer"),
        ("/v1/customers/nobody/history", 404, "unknown_customer"),
        ("/v1/customers/nobody/why", 404, "unknown_customer"),
        ("/v1/customers/", 404, "unknown_customer"),
        ("/v1/customers/%3Cscript%3Ealert(2)%3C/script%3E", 404, "unknown_customer"),
        ("/v1/customers/%FF", 422, "invalid_parameter"),
        ("/v1/customers/a%00b", 422, "invalid_parameter"),
        ("/v1/customers/" + "x" * 257, 422, "invalid_parameter"),
        ("/v1/segments/vip/nowhere/customers", 404, "unknown_segment"),
        ("/v1/segments/vip/customers", 404, "not_found"),
        ("/v1/segments/vip/growing/customers?sort=nothing", 422, "invalid_parameter"),
        ("/v1/segments/vip/growing/customers?cursor=!", 422, "invalid_parameter"),
        ("/v1/segments/vip/growing/customers?limit=0", 422, "invalid_parameter"),
        ("/v1/changes?limit=1000000", 422, "invalid_parameter"),
        ("/v1/changes?limit=many", 422, "invalid_parameter"),
        ("/v1/changes?axis=nothing", 422, "invalid_parameter"),
        ("/v1/changes?to=vip", 422, "invalid_parameter"),
        ("/v1/changes?axis=value&to=growing", 422, "invalid_parameter"),
        ("/v1/changes?cause=luck", 422, "invalid_parameter"),
        ("/v1/changes?since=yesterday", 422, "invalid_parameter"),
        ("/v1/changes?cursor=AAAA", 422, "invalid_parameter"),
        ("/v1/changes/stream?axis=nothing", 422, "invalid_parameter"),
        ("/v1/migrations?axis=nothing", 422, "invalid_parameter"),
        ("/v1/populations?points=0", 422, "invalid_parameter"),
        ("/v1/distribution?bars=0", 422, "invalid_parameter"),
        ("/v1/nothing", 404, "not_found"),
        ("/nothing.js", 404, "not_found"),
        ("/../../etc/passwd", 404, "not_found"),
        ("/v1/admin/rebuild", 405, "method_not_allowed"),
    ],
)
def test_errors_are_problems_that_name_what_is_wrong(client: ApiClient, path: str, status: int, code: str) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate(response.json())
    assert (problem.status, problem.code) == (status, code)
    assert problem.type == f"urn:stream-app:problem:{code}"
    assert "script" not in problem.detail


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_only_reads_takes_no_other_method(client: ApiClient, method: str) -> None:
    response = client.request(method, "/v1/status")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET"
    assert response.json()["code"] == "method_not_allowed"


def test_a_bug_is_a_problem_without_words_of_its_own(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    model = ReadModel(shop.source.policy, TOPICS)
    api = create_api(model, WebSettings())

    @api.get("/v1/broken")
    async def fail() -> None:
        message = "c00000020 is secret"
        raise RuntimeError(message)

    api.router.routes.insert(0, api.router.routes.pop())
    response = ApiClient(api).get("/v1/broken")
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "RuntimeError" in caplog.text
    assert "secret" not in response.text + caplog.text
    model.close()


@pytest.mark.parametrize("path", ["c00000020", "c00000020/history", "c00000020/why"])
def test_before_rows_are_read_customers_are_asked_for_later(shop: Shop, path: str) -> None:
    model = ReadModel(shop.source.policy, TOPICS)
    client = ApiClient(create_api(model, WebSettings()))
    response = client.get(f"/v1/customers/{path}")
    assert response.status_code == 503
    assert response.json()["code"] == "still_reading"
    assert response.headers["retry-after"]
    assert client.get("/v1/segments/vip/growing/customers").status_code == 503
    assert client.get("/v1/status").json()["state"] == "reading"
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    model.close()


@pytest.mark.parametrize("path", ["segments", "changes", "populations", "migrations", "distribution", "quality"])
def test_with_nothing_read_there_are_answers_without_content(shop: Shop, path: str) -> None:
    model = ReadModel(shop.source.policy, TOPICS)
    response = ApiClient(create_api(model, WebSettings())).get(f"/v1/{path}")
    assert response.status_code == 200
    assert response.json()["as_of"] is None
    model.close()


ANSWERS = [
    "/v1/customers/c00000020",
    "/v1/customers/c00000020/history",
    "/v1/customers/c00000020/why",
    "/v1/segments",
    "/v1/segments/small/steady/customers",
    "/v1/changes",
    "/v1/migrations",
    "/v1/populations",
    "/v1/distribution",
    "/v1/quality",
]


@pytest.mark.parametrize("path", ANSWERS)
def test_an_unchanged_answer_is_not_sent_again(client: ApiClient, path: str) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    for known in (tag, f'"other", {tag}', "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
        assert again.headers["as-of"] == first.json()["as_of"]
    assert client.get(path, headers={"If-None-Match": 'W/"other"'}).status_code == 200


def test_different_answers_have_different_tags(client: ApiClient) -> None:
    tags = {client.get(path).headers["etag"] for path in ANSWERS}
    assert len(tags) == len(ANSWERS)


def test_the_description_has_an_example_or_a_schema_for_everything(client: ApiClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    assert "/v1/segments/{value}/{growth}/customers" in document["paths"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation.get("summary") or operation.get("description"), path
            assert "200" in operation["responses"] or "202" in operation["responses"], path


def test_requests_at_the_same_time_get_the_same_answer(client: ApiClient) -> None:
    async def ask() -> set[bytes]:
        loop = asyncio.get_running_loop()
        answers = [loop.run_in_executor(None, client.get, "/v1/changes") for _ in range(8)]
        return {answer.content for answer in await asyncio.gather(*answers)}

    assert len(asyncio.run(ask())) == 1
