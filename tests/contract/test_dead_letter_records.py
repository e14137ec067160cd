"""Dead letters lose no byte of what they keep, say how much that is, and validate against their schema."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.codec import encode_dead_letter
from stream_app.adapters.codec.dead_letters import DEAD_LETTER_RAW_BYTES_MAX
from stream_app.domain.refusals import Refusal
from tests.contract.schemas import validator_of

SOURCE = {"topic": "customer-events", "partition": 2, "offset": 41}


def letter_of(raw: bytes, *, is_cut: bool = False) -> Any:
    record = encode_dead_letter(
        raw, code=Refusal.MALFORMED_RECORD, message="no JSON; send JSON", source=SOURCE, is_cut=is_cut
    )
    letter = json.loads(record)
    validator_of("dead_letter").validate(letter)
    return letter


def kept_bytes(letter: Any) -> bytes:
    if "raw" in letter:
        raw: str = letter["raw"]
        return raw.encode()
    return base64.b64decode(letter["raw_base64"], validate=True)


@given(st.binary() | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode))
def test_a_dead_letter_gives_its_record_back(raw: bytes) -> None:
    letter = letter_of(raw)
    assert kept_bytes(letter) == raw
    assert letter["raw_length_bytes"] == len(raw)
    assert letter["raw_sha256"] == sha256(raw).hexdigest()
    assert not letter["is_truncated"]


def test_text_stays_readable_and_other_bytes_become_base64() -> None:
    assert letter_of("<ä>\0".encode())["raw"] == "<ä>\0"
    assert "raw" not in letter_of(b"\xff{}")


@pytest.mark.parametrize("code", Refusal)
def test_every_reason_code_can_be_written(code: Refusal) -> None:
    letter = json.loads(encode_dead_letter(b"{}", code=code, message="m", source={"file": "a.csv", "row": 1}))
    validator_of("dead_letter").validate(letter)
    assert letter["reason"] == code.value


@pytest.mark.parametrize("character", ["x", "ä", "€", "😀"])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_long_record_is_cut_between_characters_and_hashed_whole(character: str, shift: int) -> None:
    raw = b"." * shift + character.encode() * (DEAD_LETTER_RAW_BYTES_MAX + 1)
    letter = letter_of(raw)
    assert letter["is_truncated"]
    assert letter["raw_length_bytes"] == len(raw)
    assert letter["raw_sha256"] == sha256(raw).hexdigest()
    kept = kept_bytes(letter)
    assert raw.startswith(kept)
    assert DEAD_LETTER_RAW_BYTES_MAX - 4 < len(kept) <= DEAD_LETTER_RAW_BYTES_MAX


def test_a_long_record_that_is_no_text_is_cut_to_the_byte() -> None:
    assert len(kept_bytes(letter_of(b"\xff" * 300_000))) == DEAD_LETTER_RAW_BYTES_MAX


def test_a_record_that_nobody_kept_whole_has_no_length_and_no_hash() -> None:
    letter = letter_of("ä".encode()[:1] + b"x", is_cut=True)
    assert letter["is_truncated"]
    assert letter["raw_length_bytes"] is None
    assert letter["raw_sha256"] is None
    assert letter_of(b"abc\xc3", is_cut=True)["raw"] == "abc"


def test_half_a_surrogate_pair_in_a_message_does_no_harm() -> None:
    record = encode_dead_letter(b"{}", code=Refusal.INVALID_UTF8, message="id = \ud800", source=SOURCE)
    assert json.loads(record)["message"] == "id = ?"
