"""With learned models in force the same log gives the same results: twice, on eight shards, and cut in two."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stream_app.adapters.knowledge_json import encode_knowledge
from stream_app.adapters.policy_file import load_policy
from stream_app.adapters.saved_state import SavedState, load_state
from stream_app.backtest.run import run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.simulation.files import ShopFiles, write_shop
from stream_app.simulation.settings import ShopSettings
from tests.backtest.conftest import RUN_STARTED_MS

DAYS = 190
CUT_MS = 1_704_067_200_000 + 165 * MS_PER_DAY + 12_345_678
"""After the learned models came into force, and within a day."""
POLICY = load_policy(None)
FILES = ("changes.jsonl", "segments.parquet", "scores.parquet")


@dataclass
class KnowledgeOfEachDay:
    """Writes down the knowledge of each day as it would be published."""

    days: list[Knowledge] = field(default_factory=list)

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None: ...

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None: ...

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        self.days.append(knowledge)


@dataclass(frozen=True)
class Replayed:
    """A run's folder, its knowledge day by day, and its state at the end."""

    out: Path
    days: list[Knowledge]
    state: SavedState

    def published(self) -> list[bytes]:
        return [encode_knowledge(knowledge) for knowledge in self.days]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.parquet"
    write_shop(ShopSettings(customers=800, days=DAYS, seed=11), ShopFiles.checked(path, None))
    return path


def replayed(log: Path, out: Path, **overrides: Any) -> Replayed:
    watch = KnowledgeOfEachDay()

    def observe(shards: Shards) -> KnowledgeOfEachDay:
        return watch

    defaults: dict[str, Any] = {
        "patterns": (str(log),),
        "policy": POLICY,
        "out": out,
        "run_started_ms": RUN_STARTED_MS,
        "tick_ms": MS_PER_DAY,
        "score_every_ms": 28 * MS_PER_DAY,
        "save_state": out.parent / f"{out.name}.npz",
    }
    settings = BacktestSettings(**(defaults | overrides))
    run_backtest(settings, None, observe)
    assert settings.save_state is not None
    return Replayed(out, watch.days, load_state(settings.save_state, POLICY))


@pytest.fixture(scope="module")
def one(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    return replayed(log, tmp_path_factory.mktemp("one") / "out")


@pytest.fixture(scope="module")
def eight(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    return replayed(log, tmp_path_factory.mktemp("eight") / "out", shard_count=8)


def test_the_log_is_long_enough_for_learned_models_to_count_in_scores(one: Replayed) -> None:
    scoring = one.days[-1].scoring

    assert scoring.buy is not None
    assert scoring.growth is not None
    assert scoring.growth.stack.learned_weight > 0.0
    assert scoring.label_share > 0.0
    learned = [knowledge.scoring.version for knowledge in one.days if knowledge.scoring.count is not None]
    assert len(set(learned)) >= 2


@pytest.mark.parametrize("name", FILES)
def test_eight_shards_write_what_one_writes(one: Replayed, eight: Replayed, name: str) -> None:
    if name.endswith(".parquet"):
        assert pq.read_table(one.out / name).equals(pq.read_table(eight.out / name))
    else:
        assert (one.out / name).read_bytes() == (eight.out / name).read_bytes()


def test_eight_shards_publish_the_knowledge_of_one_every_day(one: Replayed, eight: Replayed) -> None:
    assert len(one.days) == DAYS + 1
    assert one.published() == eight.published()


def test_eight_shards_leave_the_learner_in_the_state_of_one(one: Replayed, eight: Replayed) -> None:
    assert one.state.learner.keys() == eight.state.learner.keys()
    for name, values in one.state.learner.items():
        np.testing.assert_array_equal(values, eight.state.learner[name], err_msg=name, strict=True)


def test_a_second_run_writes_and_learns_the_same(log: Path, one: Replayed, tmp_path: Path) -> None:
    second = replayed(log, tmp_path / "out")

    assert (one.out / "changes.jsonl").read_bytes() == (second.out / "changes.jsonl").read_bytes()
    assert one.published() == second.published()
    for name, values in one.state.learner.items():
        np.testing.assert_array_equal(values, second.state.learner[name], err_msg=name, strict=True)


def test_a_run_cut_in_two_while_learned_models_are_in_force_goes_on_to_the_same_knowledge(
    log: Path, one: Replayed, tmp_path: Path
) -> None:
    before = replayed(log, tmp_path / "before", to_ms=CUT_MS, shard_count=3)
    assert before.days[-1].scoring.count is not None
    after = replayed(log, tmp_path / "after", load_state=tmp_path / "before.npz", shard_count=2)

    assert one.published() == before.published() + after.published()
    told = [(each.out / "changes.jsonl").read_bytes() for each in (before, after)]
    assert (one.out / "changes.jsonl").read_bytes() == b"".join(told)
    segments = [pq.read_table(each.out / "segments.parquet") for each in (one, after)]
    assert segments[0].equals(segments[1])
    for name, values in one.state.learner.items():
        np.testing.assert_array_equal(values, after.state.learner[name], err_msg=name, strict=True)
