"""Addresses of logs: what is read, and what is told about the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from yarl import URL

from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.urls import KafkaUrl, SqliteUrl, parse_log_url, parse_topic_url
from stream_app.domain.errors import SettingsError

READ = {
    "sqlite:///var/lib/shop.log": SqliteUrl(Path("/var/lib/shop.log")),
    "sqlite:shop.log": SqliteUrl(Path("shop.log")),
    "sqlite:../data/shop 100%?#.log": SqliteUrl(Path("../data/shop 100%?#.log")),
    "kafka://localhost:9092": KafkaUrl(("localhost:9092",)),
    "kafka://one.example:9092,10.0.0.2:19092": KafkaUrl(("one.example:9092", "10.0.0.2:19092")),
    "kafka://[::1]:9092": KafkaUrl(("[::1]:9092",)),
}


@pytest.mark.parametrize("text", READ)
def test_an_address_is_read_and_written_as_it_was(text: str) -> None:
    assert parse_log_url(text) == READ[text]
    assert str(parse_log_url(text)) == text


REFUSED = {
    "": "it names no kind of log",
    "shop.log": "it names no kind of log",
    "localhost:9092": "it names no kind of log",
    "SQLITE:shop.log": "it names no kind of log",
    "postgres://host/db": "it names no kind of log",
    "sqlite:": "name a file",
    "sqlite:///": "name a file",
    "sqlite:folder/": "name a file",
    "sqlite:.": "name a file",
    "sqlite::memory:": "only in memory",
    "sqlite:/var/shop.log": "write sqlite:///var/shop.log",
    "sqlite://shop.log": "write sqlite:shop.log",
    "kafka:host:9092": "write kafka://host:9092",
    "kafka://": "write kafka://host:9092",
    "kafka://host": "write kafka://host:9092",
    "kafka://host:0": "write kafka://host:9092",
    "kafka://host:70000": "write kafka://host:9092",
    "kafka://host:9092,": "write kafka://host:9092",
    "kafka://host:9092/topic": "write kafka://host:9092",
}


@pytest.mark.parametrize("text", REFUSED)
def test_any_other_form_is_refused_and_told_what_to_write(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_log_url(text)
    assert caught.value.code == "invalid_log_url"
    assert REFUSED[text] in str(caught.value)
    assert "allowed are kafka://host:9092[,host2:9092], sqlite:///abs/path and sqlite:relative/path" in str(
        caught.value
    )


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_log_url("kafka://me:secret@host:9092")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["shop.log", "shop 100%.log", "what?.log", "one#two.log", "Läden.log", "a%20b.log"])
def test_faust_finds_the_same_file(name: str) -> None:
    url = parse_log_url(f"sqlite:{name}")
    assert isinstance(url, SqliteUrl)
    assert URL(url.broker_url).path == str(Path.cwd() / name)


def test_the_embedded_log_is_opened_by_its_address() -> None:
    assert isinstance(open_log("sqlite:shop.log", "segments"), SqliteLog)


@pytest.mark.parametrize(
    ("text", "topic", "told"),
    [
        ("kafka://one:9092/sales", None, "kafka://one:9092/sales"),
        ("kafka://one:9092/sales/", "sales", "kafka://one:9092/sales"),
        ("kafka://one:9092,two:9092", "sales", "kafka://one:9092,two:9092/sales"),
        ("kafka://one:9092", None, "kafka://one:9092/events"),
        ("sqlite:///data/shop.log", "sales", "sqlite:///data/shop.log (sales)"),
        ("sqlite:shop.log", None, "sqlite:shop.log (events)"),
    ],
)
def test_a_topic_is_named_behind_the_address_or_apart(text: str, topic: str | None, told: str) -> None:
    assert str(parse_topic_url(text, topic, "events")) == told


@pytest.mark.parametrize(
    ("text", "topic", "told"),
    [
        ("kafka://one:9092/sales", "orders", "two topics are named, sales behind the address and orders by --topic"),
        ("kafka://one:9092/a/b", None, "topic 'a/b' cannot be"),
        ("sqlite:shop.log", "all sales", "topic 'all sales' cannot be"),
        ("kafka://one/sales", None, "write kafka://one:9092"),
    ],
)
def test_a_topic_that_cannot_be_is_refused_with_the_reason(text: str, topic: str | None, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        parse_topic_url(text, topic, "events")
