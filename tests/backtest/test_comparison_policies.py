"""Policies side by side: what their folders are called, and which settings are told to differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.backtest.comparison.policies import (
    POLICIES_MAX,
    Difference,
    find_differences,
    folder_names,
    load_policies,
)
from stream_app.domain.errors import SettingsError
from tests.backtest.compared_policies import CAREFUL, EAGER, OTHER_TIERS, write_policies


def differences_of(folder: Path, *texts: str) -> list[Difference]:
    names = [f"policy_{place}" for place in range(len(texts))]
    paths = write_policies(folder, **dict(zip(names, texts, strict=True)))
    return find_differences(load_policies(paths, None))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.toml", "b.toml"], ["a", "b"]),
        (["old/shop.toml", "new/shop.toml", "newest/shop.toml"], ["shop", "shop-2", "shop-3"]),
        (["shop.toml", "shop-2.toml", "x/shop.toml"], ["shop", "shop-2", "shop-3"]),
        (["x/shop.toml", "y/shop.toml", "shop-2.toml"], ["shop", "shop-2", "shop-2-2"]),
        (["Shop.toml", "shop.toml"], ["Shop", "shop-2"]),
        (["comparison.json", "report.html.toml"], ["comparison", "report.html-2"]),
        (["...toml", ".toml", "-.toml"], ["policy", "toml", "policy-2"]),
        (["my policy (new).toml", "a&b.toml"], ["my-policy-new", "a-b"]),
        (["größe.toml", "定价.toml"], ["größe", "定价"]),
        (["x" * 200 + ".toml", "x" * 201 + ".toml"], ["x" * 60, "x" * 60 + "-2"]),
    ],
)
def test_folders_are_named_after_the_files_and_never_the_same(paths: list[str], names: list[str]) -> None:
    assert folder_names([Path(path) for path in paths]) == names


@pytest.mark.parametrize("stem", ["..", ".", "...", "a/..", "\x00", "a\nb", " "])
def test_no_folder_leads_out_of_the_results(stem: str) -> None:
    (name,) = folder_names([Path(f"{stem}.toml")])

    assert name.strip(".")
    assert not set(name) & set("/\\\x00\n ")


def test_the_same_policy_has_no_difference_however_it_is_written(tmp_path: Path) -> None:
    one = EAGER.replace('"2w"', '"14d"').replace("0.70, 0.90", "7e-1, 0.9").replace("margin = 0.0\n", "margin = 0\n")

    assert differences_of(tmp_path, EAGER, one) == []


def test_each_setting_that_differs_is_told_with_both_values(tmp_path: Path) -> None:
    assert differences_of(tmp_path, CAREFUL, EAGER) == [
        Difference("axes.value.cuts", ("[0.8, 0.95]", "[0.7, 0.9]")),
        Difference("axes.value.margin", ("[0.2, 0.6]", "0.0")),
    ]


def test_owner_and_name_are_no_settings(tmp_path: Path) -> None:
    assert differences_of(tmp_path, CAREFUL, CAREFUL.replace("CRM", "Sales").replace("careful", "careless")) == []


def test_a_setting_that_only_one_policy_has_is_told_as_missing_in_the_other(tmp_path: Path) -> None:
    found = {each.setting: each.values for each in differences_of(tmp_path, CAREFUL, OTHER_TIERS)}

    assert found["axes.growth.tiers"] == ('["declining", "steady", "growing"]', None)
    assert found["treatment of vip"] == (None, "human: Call.")
    assert found["time.horizon_periods"] == ("1", "3")
    # Treatments and axes that only one has are told themselves; nothing that both have changes places.
    assert not {"order of axes", "order of treatments"} & found.keys()


def test_the_order_of_treatments_is_told_where_it_differs(tmp_path: Path) -> None:
    more = '[[treatments]]\nsegment = ["big"]\nchannel = "human"\naction = "Visit."\n\n'
    first = OTHER_TIERS.replace("[[treatments]]", f"{more}[[treatments]]", 1)
    parts = OTHER_TIERS.split("[[treatments]]")
    second = f"{parts[0]}[[treatments]]{parts[1]}{more}[[treatments]]{parts[2]}"

    assert differences_of(tmp_path, first, second) == [
        Difference("order of treatments", ('["big", "vip", "*"]', '["vip", "big", "*"]'))
    ]


def test_an_event_rule_is_told_as_one_setting(tmp_path: Path) -> None:
    more = '\n[events.types]\n"Gift Card" = { family = "purchase", fixed_value = 25 }\n'

    assert differences_of(tmp_path, CAREFUL, CAREFUL + more) == [
        Difference('events.types."Gift Card"', (None, 'family = "purchase", fixed_value = 25'))
    ]


def test_a_sweep_period_of_the_command_line_holds_for_all_and_differs_in_none(tmp_path: Path) -> None:
    paths = write_policies(tmp_path, one=CAREFUL, two=f'{CAREFUL}sweep_period = "7d"\n')

    assert find_differences(load_policies(paths, None)) == [Difference("time.sweep_period", ("1d", "7d"))]
    policies = load_policies(paths, 2 * 24 * 60)
    assert find_differences(policies) == []
    assert {each.policy.sweep_period_minutes for each in policies} == {2 * 24 * 60}


def test_more_policies_than_can_be_told_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"at most {POLICIES_MAX}"):
        load_policies([tmp_path / f"{number}.toml" for number in range(POLICIES_MAX + 1)], None)
