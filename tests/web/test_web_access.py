"""Nobody reads without the right to, nothing unbounded is taken, and no answer or log line gives anything away."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from stream_app.domain.errors import SettingsError
from stream_app.web.access import SECURITY_HEADERS, RateLimiter
from stream_app.web.api import create_api
from stream_app.web.bounded_http import HEAD_BYTES_MAX
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import Role, Token, WebSettings, hash_token, read_tokens
from tests.web.api_client import ApiClient
from tests.web.live_server import running

READER, ADMIN = "reading-token", "admin-token"
TOKENS = (Token(Role.READ, hash_token(READER)), Token(Role.ADMIN, hash_token(ADMIN)))


def client_of(model: ReadModel, base_url: str = "http://shop.example", **settings: Any) -> ApiClient:
    rebuilt: list[bool] = []
    api = create_api(model, WebSettings(**settings), on_rebuild=lambda: rebuilt.append(True))
    return ApiClient(api, base_url=base_url)


@pytest.fixture
def guarded(model: ReadModel) -> ApiClient:
    return client_of(model, host="0.0.0.0", tokens=TOKENS)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "begin", [b"GET /v1/status HTTP/1.1\r\nX-Long: ", b"GET /v1/status?"], ids=["header", "target"]
)
def test_a_head_that_does_not_end_is_cut_off_and_others_are_served(model: ReadModel, begin: bytes) -> None:
    with running(create_api(model, WebSettings())) as address:
        parts = urlsplit(address)
        with socket.create_connection((parts.hostname, parts.port), timeout=30.0) as sender:
            sender.sendall(begin)
            answer = b""
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    sender.sendall(b"x" * HEAD_BYTES_MAX)
            with contextlib.suppress(ConnectionError):
                answer = sender.recv(4096)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
        assert httpx.get(f"{address}/v1/status").status_code == 200


def test_many_requests_in_one_piece_are_all_answered(model: ReadModel) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Padding: %b\r\n\r\n" % (b"x" * 2000)
    with running(create_api(model, WebSettings())) as address:
        parts = urlsplit(address)
        with socket.create_connection((parts.hostname, parts.port), timeout=30.0) as sender:
            sender.sendall(request * 100)
            answers = b""
            while answers.count(b"HTTP/1.1 200") < 100:
                answers += sender.recv(65_536)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "shop.example"])
def test_an_address_that_others_can_reach_needs_tokens(host: str) -> None:
    with pytest.raises(SettingsError) as refused:
        WebSettings(host=host)
    assert "--tokens-file" in refused.value.faults[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
def test_loopback_needs_no_tokens(host: str) -> None:
    assert WebSettings(host=host).is_loopback


@pytest.mark.parametrize("path", ["/v1/status", "/v1/segments", "/v1/changes/stream", "/openapi.json", "/v1/nothing"])
@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"Authorization": READER}, bearer(READER + "x")])
def test_without_a_known_token_nothing_is_told(guarded: ApiClient, path: str, headers: dict[str, str]) -> None:
    response = guarded.get(path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["code"] == "token_needed"


@pytest.mark.parametrize("token", [READER, ADMIN])
def test_a_known_token_reads(guarded: ApiClient, token: str) -> None:
    assert guarded.get("/v1/status", headers=bearer(token)).status_code == 200
    assert guarded.get("/v1/status", headers={"Cookie": f"stream_app_token={token}"}).status_code == 200


def test_administration_needs_a_token_of_its_own(guarded: ApiClient) -> None:
    path = "/v1/admin/rebuild"
    assert guarded.request("POST", path).status_code == 401
    assert guarded.request("POST", path, headers=bearer(READER)).status_code == 403
    assert guarded.request("POST", path, headers=bearer(ADMIN)).status_code == 202


def test_a_cookie_administers_nothing(guarded: ApiClient) -> None:
    response = guarded.request("POST", "/v1/admin/rebuild", headers={"Cookie": f"stream_app_token={ADMIN}"})
    assert response.status_code == 401


def test_the_page_hands_its_token_in_for_a_cookie_that_no_script_reads(guarded: ApiClient) -> None:
    assert guarded.request("POST", "/v1/session", content="wrong").status_code == 401
    response = guarded.request("POST", "/v1/session", content=READER)
    assert response.status_code == 204
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    pair = response.headers["set-cookie"].partition(";")[0]
    assert guarded.get("/v1/status", headers={"Cookie": pair}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1", "", "a@localhost", "[::1"])
def test_a_foreign_name_for_this_machine_is_refused(model: ReadModel, host: str) -> None:
    client = client_of(model, "http://localhost")
    response = client.get("/v1/status", headers={"Host": host})
    assert response.status_code == 403
    assert response.json()["code"] == "foreign_host"


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_loopback_names_are_answered(model: ReadModel, host: str) -> None:
    assert client_of(model, "http://localhost").get("/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "garbage"])
def test_pages_of_other_sites_are_refused(model: ReadModel, origin: str) -> None:
    client = client_of(model, "http://localhost")
    for method, path in (("POST", "/v1/admin/rebuild"), ("GET", "/v1/status")):
        response = client.request(method, path, headers={"Origin": origin})
        assert response.status_code == 403
        assert response.json()["code"] == "foreign_origin"


def test_the_own_page_may_ask(model: ReadModel) -> None:
    client = client_of(model, "http://localhost:8000")
    headers = {"Origin": "http://localhost:8000"}
    assert client.request("POST", "/v1/admin/rebuild", headers=headers).status_code == 202


@pytest.mark.parametrize("path", ["/", "/v1/status", "/v1/nothing", "/v1/customers/nobody", "/livez"])
def test_every_answer_has_security_headers(model: ReadModel, path: str) -> None:
    response = client_of(model, "http://localhost").get(path)
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "server" not in response.headers


def test_a_client_that_asks_too_often_has_to_wait(model: ReadModel) -> None:
    client = client_of(model, "http://localhost", requests_per_second=2.0)
    statuses = [client.get("/livez").status_code for _ in range(8)]
    assert statuses[:4] == [200] * 4
    refused = client.get("/livez")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    other = ApiClient(client.api, address="10.1.1.1", base_url="http://localhost")
    assert other.get("/livez").status_code == 200


def test_rates_are_counted_for_each_client_and_forgotten_beyond_a_number() -> None:
    now = [0.0]
    limiter = RateLimiter(1.0, lambda: now[0])
    assert [limiter.wait_seconds("a") for _ in range(3)] == [0.0, 0.0, 1.0]
    assert limiter.wait_seconds("b") == 0.0
    now[0] = 1.0
    assert limiter.wait_seconds("a") == 0.0
    for number in range(20_000):
        limiter.wait_seconds(str(number))
    assert len(limiter._buckets) <= 10_000


def test_large_bodies_and_long_addresses_are_refused(model: ReadModel) -> None:
    client = client_of(model, "http://localhost", body_bytes_max=10, target_bytes_max=100)
    assert client.request("POST", "/v1/session", content=b"x" * 11).status_code == 413
    assert client.get("/v1/customers/" + "x" * 100).status_code == 414


def test_a_body_that_does_not_say_its_length_is_bounded_as_well(model: ReadModel) -> None:
    client = client_of(model, "http://shop.example", host="0.0.0.0", tokens=TOKENS, body_bytes_max=10)

    async def parts() -> Any:
        for _ in range(4):
            yield b"xxxx"

    response = client.request("POST", "/v1/session", content=parts())
    assert response.status_code == 413


def test_no_customer_is_named_in_the_log(model: ReadModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="stream_app")
    client = client_of(model, "http://localhost")
    for path in ("c00000020", "secret-person", "c00000020/why", "%FF", "x" * 300):
        client.get(f"/v1/customers/{path}?token=hush")
    text = caplog.text
    assert "route=/v1/customers/{customer_id}" in text
    for secret in ("c00000020", "secret-person", "hush", "xxx"):
        assert secret not in text


def test_token_files_hold_hashes_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# team\n\nread {hash_token('a')}\nadmin {hash_token('b').upper()} # ops\n")
    assert read_tokens(file) == (Token(Role.READ, hash_token("a")), Token(Role.ADMIN, hash_token("b")))


def test_hashes_of_tokens_are_plain_sha_256() -> None:
    assert hash_token("ü") == hashlib.sha256("ü".encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no token"),
        ("# nothing\n", "no token"),
        ("read my-plain-token\n", ":1: write"),
        (f"root {hash_token('a')}\n", ":1: write"),
        (f"read {hash_token('a')}\nread\n", ":2: write"),
    ],
)
def test_faults_of_token_files_are_named_without_their_content(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        read_tokens(file)
    told = " ".join((str(refused.value), *refused.value.faults))
    assert said in told
    assert "my-plain-token" not in told


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_tokens(tmp_path / "none")
