"""The saved state of a backtest: one file of plain arrays from which another run goes on."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app import __version__
from stream_app.adapters.knowledge_json import decode_knowledge, encode_knowledge
from stream_app.adapters.state_records import split_ids
from stream_app.adapters.whole_files import written_whole
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.domain.population import AxisSketch, PopulationSketch
from stream_app.domain.rows import LAYOUT_VERSION, RowBlock, row_dtype
from stream_app.engine import EngineClock

FORMAT_VERSION: Final = 3
_REBUILD: Final = "replay the log from its beginning without --load-state to build it anew"


@dataclass(frozen=True, slots=True, eq=False)
class SavedState:
    """Everything from which a backtest goes on, whatever the number of shards.

    Parameters
    ----------
    customer_ids, rows
        Shape `(n,)`.
    clock
        Of the engines, which all stand at the same tick.
    sketch
        Term sums added up over the shards.
    knowledge
        In force.
    next_knowledge
        For the next tick: another than that in force when it brings a new scoring.
    learner
        State of what learns, as plain arrays.
    time_reached_ms
        Events before this time are in the rows.
    next_tick_ms, tick_ms
        The tick that comes next, and the time between ticks.
    renewed_day
        UTC day of the last renewal, in days since 1970-01-01.
    """

    customer_ids: NDArray[np.bytes_]
    rows: RowBlock
    clock: EngineClock
    sketch: PopulationSketch
    knowledge: Knowledge
    next_knowledge: Knowledge
    learner: dict[str, NDArray[np.generic]]
    time_reached_ms: int
    next_tick_ms: int
    tick_ms: int
    renewed_day: int


def save_state(path: Path, state: SavedState, policy: Policy) -> None:
    """Write a state; the file gets its name when it is complete.

    Parameters
    ----------
    path
        Where it goes.
    state
        What to save.
    policy
        Its hashes are stored with the state.

    Raises
    ------
    SettingsError
        When the file cannot be written.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "layout_version": LAYOUT_VERSION,
        "software_version": __version__,
        "policy_hash": policy.content_hash,
        "state_hash": policy.state_hash,
        "clock": [state.clock.last_tick_ms, state.clock.sums_day, state.clock.scoring_version],
        "time_reached_ms": state.time_reached_ms,
        "next_tick_ms": state.next_tick_ms,
        "tick_ms": state.tick_ms,
        "renewed_day": state.renewed_day,
        "term_counts": [axis.term_count for axis in state.sketch.axes],
    }
    lengths = np.char.str_len(state.customer_ids).astype(np.uint16)
    arrays: dict[str, Any] = {
        "header": np.frombuffer(orjson.dumps(header), dtype=np.uint8),
        "knowledge": np.frombuffer(encode_knowledge(state.knowledge), dtype=np.uint8),
        "next_knowledge": np.frombuffer(encode_knowledge(state.next_knowledge), dtype=np.uint8),
        "id_lengths": lengths,
        "id_bytes": np.frombuffer(b"".join(state.customer_ids.tolist()), dtype=np.uint8),
        "rows": state.rows.view(np.uint8),
    }
    for place, axis in enumerate(state.sketch.axes):
        arrays[f"term_sums_{place}"] = axis.term_sums
    # One array in all: a checksum guards each array, and nothing what stands between many of them.
    learner = io.BytesIO()
    np.savez(learner, **cast("dict[str, Any]", state.learner))
    arrays["learner"] = np.frombuffer(learner.getbuffer(), dtype=np.uint8)
    try:
        with written_whole(path) as unfinished, unfinished.open("wb") as file:
            # Not compressed: that would take longer than the replay of many a log.
            np.savez(file, **arrays)
    except OSError as error:
        message = f"state file {path} cannot be written ({error.strerror}); choose another place for --save-state"
        raise SettingsError(message, code="unwritable_state") from error


def load_state(path: Path, policy: Policy) -> SavedState:
    """Read a state.

    Parameters
    ----------
    path
        A file of `save_state`.
    policy
        The policy to go on with.

    Returns
    -------
    SavedState

    Raises
    ------
    SettingsError
        When there is no such file.
    IncompatibleStateError
        When it is no state, is damaged, or was built with another layout or policy.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = orjson.loads(arrays["header"].tobytes())
        _require_compatible(path, header, policy)
        return _assemble(arrays, header, policy)
    except IncompatibleStateError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            message = f"state file {path} cannot be read ({error.strerror}); give --load-state a file of --save-state"
            raise SettingsError(message, code="unreadable_state_file") from error
        raise _damaged(path, error) from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, IndexError, OverflowError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> IncompatibleStateError:
    message = f"state file {path} is no saved state or is damaged ({type(error).__name__}); {_REBUILD}"
    return IncompatibleStateError(message, code="damaged_state")


def _require_compatible(path: Path, header: dict[str, Any], policy: Policy) -> None:
    faults = []
    if header["format_version"] != FORMAT_VERSION:
        faults.append(f"format version {header['format_version']}, this software reads {FORMAT_VERSION}")
    if header["layout_version"] != LAYOUT_VERSION:
        faults.append(f"row layout {header['layout_version']}, this software has {LAYOUT_VERSION}")
    if header["state_hash"] != policy.state_hash:
        faults.append(
            f"rows of a policy with state hash {header['state_hash']}, this policy has {policy.state_hash} "
            "(axes, tiers, event rules, money, half-lives or horizon differ)"
        )
    if faults:
        message = (
            f"state file {path} does not fit: {'; '.join(faults)}; use the policy it was saved with, or {_REBUILD}"
        )
        raise IncompatibleStateError(message, code="incompatible_state")


def _assemble(arrays: dict[str, NDArray[Any]], header: dict[str, Any], policy: Policy) -> SavedState:
    ids = split_ids(arrays["id_bytes"], arrays["id_lengths"].astype(np.int64))
    rows = arrays["rows"].view(row_dtype(len(policy.axes), policy.horizon_periods))
    if len(rows) != len(ids):
        message = "rows and ids differ in number"
        raise ValueError(message)
    clock = EngineClock(*map(int, header["clock"]))
    axes = tuple(
        AxisSketch(np.empty(0, dtype=np.int64), arrays[f"term_sums_{place}"], int(count))
        for place, count in enumerate(header["term_counts"])
    )
    return SavedState(
        customer_ids=ids,
        rows=rows,
        clock=clock,
        sketch=PopulationSketch(clock.scoring_version, axes),
        knowledge=decode_knowledge(arrays["knowledge"].tobytes(), header["policy_hash"]),
        next_knowledge=decode_knowledge(arrays["next_knowledge"].tobytes(), header["policy_hash"]),
        learner=_unpack(arrays["learner"]),
        time_reached_ms=int(header["time_reached_ms"]),
        next_tick_ms=int(header["next_tick_ms"]),
        tick_ms=int(header["tick_ms"]),
        renewed_day=int(header["renewed_day"]),
    )


def _unpack(packed: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    with np.load(io.BytesIO(packed.tobytes()), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
