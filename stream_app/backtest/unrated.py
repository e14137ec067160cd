"""Why buyers have no tier."""

from __future__ import annotations

from typing import Any

from stream_app.backtest.results import AxisResult
from stream_app.domain.policy import AxisPolicy, CutRule, Policy


def lack_of_cut_points(axis: AxisResult, axis_policy: AxisPolicy, policy: Policy) -> str | None:
    """Say why there are no cut points by quantiles where there should be; None when there are."""
    if axis.lines is not None or axis_policy.cut_rule is not CutRule.QUANTILES:
        return None
    known = int(axis.populations_end.sum() if policy.rates_everyone else axis.populations_end[1:].sum())
    who = "customer" if policy.rates_everyone else "buyer"
    who += "" if known == 1 else "s"
    return (
        f"No quantile cut points on the axis {axis.name}: {known:,} {who} at the end, "
        f"{policy.rated_customers_min:,} needed at the first tick of a day."
    )


def unrated(axis: AxisResult, axis_policy: AxisPolicy, policy: Policy) -> dict[str, Any] | None:
    """Tell how many buyers have no tier at the end, and why; None when there is none."""
    count = int(axis.populations_end[1])
    if not count:
        return None
    lack = lack_of_cut_points(axis, axis_policy, policy)
    reason = "The cut points are new: these buyers get a tier at their next event or sweep."
    return {"customers": count, "reason": reason if lack is None else lack}
