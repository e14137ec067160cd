"""Settings come from the environment, and all their faults are told with the variables that they are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.adapters.log.urls import KafkaUrl, SqliteUrl
from stream_app.domain.errors import SettingsError
from stream_app.settings import PREFIX, WorkerSettings, read_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all our variables out of the environment."""
    for name in WorkerSettings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


def test_the_address_of_the_log_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_LOG", "sqlite:shop.log")
    settings = read_settings()
    assert settings.url == SqliteUrl(Path("shop.log"))
    assert (settings.topics.app, settings.topics.events) == ("segments", "customer-events")
    options = settings.options()
    assert options.ticks_by_wall_clock
    assert not options.trusts_keys
    assert options.policy.name


def test_every_setting_has_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {
        "LOG": "kafka://one:9092,two:9092",
        "APP": "shop",
        "EVENTS": "shop.events",
        "TICKS": "none",
        "TRUST_PARTITIONING": "true",
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": "9464",
        "LOG_LEVEL": "warning",
        "POLICY": str(tmp_path / "policy.toml"),
    }
    assert given.keys() == {name.upper() for name in WorkerSettings.model_fields}
    (tmp_path / "policy.toml").write_text('[policy]\nname = "ours"\n')
    for name, value in given.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    settings = read_settings()
    assert settings.url == KafkaUrl(("one:9092", "two:9092"))
    options = settings.options()
    assert (options.topics.state, options.topics.events) == ("shop-state", "shop.events")
    assert options.trusts_keys
    assert not options.ticks_by_wall_clock
    assert options.policy.name == "ours"


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOG": "redis://x", "APP": "no/slash", "TICKS": "no", "METRICS_PORT": "70000"}.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert sorted(fault.partition(":")[0] for fault in caught.value.faults) == [
        "STREAM_APP_APP",
        "STREAM_APP_LOG",
        "STREAM_APP_METRICS_PORT",
        "STREAM_APP_TICKS",
    ]


def test_a_missing_address_says_what_to_write() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert caught.value.faults == (
        "STREAM_APP_LOG: it is not set; give the address of the log, such as kafka://127.0.0.1:9092 or sqlite:shop.log",
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ä", "x" * 201, "a/b"])
def test_names_that_cannot_be_topics_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a topic"):
        WorkerSettings(log="sqlite:x.log", app=name)


def test_events_cannot_be_a_topic_of_the_application_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_LOG", "sqlite:x.log")
    monkeypatch.setenv("STREAM_APP_EVENTS", "segments-state")
    with pytest.raises(SettingsError, match="STREAM_APP_EVENTS"):
        read_settings()
