"""An exported state as one file of plain arrays."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.state_header import dump_header, read_header
from stream_app.adapters.state_records import split_ids
from stream_app.adapters.whole_files import written_whole
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.policy import Policy
from stream_app.domain.rows import LAYOUT_VERSION, row_dtype
from stream_app.streaming.messages import Notice, NoticeKind
from stream_app.streaming.state_export import ExportedState

FORMAT_VERSION: Final = 1
_AGAIN: Final = "export it again"


def write_export(path: Path, exported: ExportedState) -> None:
    """Write an exported state; the file gets its name when it is complete.

    Raises
    ------
    SettingsError
        When it cannot be written.
    """
    notices = [
        {"kind": own.kind.value, "day": own.day, "time_ms": own.time_ms, "version": own.version, "cause": own.cause}
        for own in exported.notices
    ]
    about = {
        "format_version": FORMAT_VERSION,
        "header": orjson.Fragment(dump_header(exported.header)),
        "events": exported.events,
        "positions": [[partition, offset] for partition, offset in sorted(exported.positions.items())],
        "notices": notices,
    }
    contents = [own.content for own in exported.notices]
    arrays: dict[str, Any] = {
        "about": _bytes(orjson.dumps(about)),
        "id_lengths": np.strings.str_len(exported.ids).astype(np.uint16),
        "id_bytes": _bytes(b"".join(exported.ids.tolist())),
        "rows": np.ascontiguousarray(exported.rows).view(np.uint8),
        "notice_lengths": np.array([len(own) for own in contents], dtype=np.int64),
        "notice_bytes": _bytes(b"".join(contents)),
        "learner": _bytes(exported.learner),
    }
    try:
        with written_whole(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror}); choose another place for the export"
        raise SettingsError(message, code="unwritable_export") from error


def read_export(path: Path, policy: Policy) -> ExportedState:
    """Read an exported state.

    Parameters
    ----------
    path
        A file of `write_export`.
    policy
        With which the state was made.

    Raises
    ------
    SettingsError
        When there is no such file.
    IncompatibleStateError
        When it is no export, is damaged, or is of another version or policy.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = orjson.loads(arrays["about"].tobytes())
        if about["format_version"] != FORMAT_VERSION:
            message = (
                f"{path} is an export of format {about['format_version']}; this software reads {FORMAT_VERSION}; use "
                "the version that wrote it"
            )
            raise IncompatibleStateError(message, code="export_format")
        return _assembled(arrays, about, policy, path)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        message = f"{path} cannot be read ({error.strerror}); give a file of `stream-app state export`"
        raise SettingsError(message, code="unreadable_export") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError, zipfile.BadZipFile) as error:
        message = f"{path} is no exported state or is damaged ({type(error).__name__}); {_AGAIN}"
        raise IncompatibleStateError(message, code="damaged_export") from error


def _assembled(arrays: dict[str, NDArray[Any]], about: dict[str, Any], policy: Policy, path: Path) -> ExportedState:
    header = read_header(about["header"])
    if header.layout_version != LAYOUT_VERSION or header.state_hash != policy.state_hash:
        message = (
            f"{path} has row layout {header.layout_version} and state hash {header.state_hash}; this software has "
            f"layout {LAYOUT_VERSION}, this policy {policy.state_hash}: use the version and the policy it was made with"
        )
        raise IncompatibleStateError(message, code="incompatible_export")
    ids = split_ids(arrays["id_bytes"], arrays["id_lengths"].astype(np.int64))
    rows = arrays["rows"].view(row_dtype(len(policy.axes), policy.horizon_periods))
    if len(ids) != len(rows) or len(ids) != header.customer_count:
        message = f"{len(ids)} ids, {len(rows)} rows, {header.customer_count} customers"
        raise ValueError(message)
    ends = np.cumsum(arrays["notice_lengths"])
    contents = [own.tobytes() for own in np.split(arrays["notice_bytes"], ends[:-1])] if len(ends) else []
    notices = [
        Notice(**{**own, "kind": NoticeKind(own["kind"])}, content=content)
        for own, content in zip(about["notices"], contents, strict=True)
    ]
    return ExportedState(
        ids=ids,
        rows=rows,
        header=replace(header, positions={}),
        events=about["events"],
        positions={int(partition): int(offset) for partition, offset in about["positions"]},
        notices=notices,
        learner=arrays["learner"].tobytes(),
    )


def _bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)
