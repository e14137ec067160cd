"""Folder and port of a run: what cannot be used is said in one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from stream_app.domain.errors import SettingsError
from stream_app.supervisor.places import LOOPBACK, choose_port, held_folder, note_owner


def test_a_folder_is_made_and_kept_for_the_next_run(tmp_path: Path) -> None:
    for _ in range(2):
        with held_folder(tmp_path / "out" / "run") as folder:
            (folder / "kept").touch()
    assert (tmp_path / "out" / "run" / "kept").exists()


def test_a_second_run_in_a_folder_is_refused_and_told_where_the_first_one_is(tmp_path: Path) -> None:
    with held_folder(tmp_path) as folder:
        note_owner(folder, "http://127.0.0.1:8765/")
        with pytest.raises(SettingsError, match=r"in use by another run \(process \d+, http://127.0.0.1:8765/\)"):
            held_folder(tmp_path).__enter__()
    with held_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot be written to .*name another folder"):
        held_folder(tmp_path / "file" / "run").__enter__()


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--port {port} cannot be used .address already in use."):
            choose_port(port)
        assert choose_port(None) != port


def test_a_free_port_is_taken_as_it_is_wanted() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        port = other.getsockname()[1]
    assert choose_port(port) == port
