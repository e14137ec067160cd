"""Policy files for the tests of comparisons, small changes of the default."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CAREFUL: Final = """
[policy]
name = "careful"
owner = "CRM"
objective = "Call few, call the right ones."

[time]
horizon_periods = 1
"""

EAGER: Final = """
[policy]
name = "eager"
owner = "Sales"
objective = "Call many."

[axes.value]
score = "value"
tiers = ["small", "big", "vip"]
cut_rule = "quantiles"
cuts = [0.70, 0.90]
margin = 0.0
confirmation = "0d"

[axes.growth]
score = "growth"
tiers = ["declining", "steady", "growing"]
cut_rule = "quantiles"
cuts = [0.2, 0.8]
margin = 0.25
confirmation = "2w"

[time]
horizon_periods = 1
"""

OTHER_TIERS: Final = """
[policy]
name = "four tiers"
owner = "CRM"
objective = "Tell good customers from very good ones."

[axes.value]
score = "value"
tiers = ["small", "good", "big", "vip"]
cut_rule = "quantiles"
cuts = [0.5, 0.8, 0.95]
margin = 0.25
confirmation = "0d"

[[treatments]]
segment = ["vip"]
channel = "human"
action = "Call."

[[treatments]]
segment = ["*"]
channel = "digital"
action = "Write."
"""


def write_policies(folder: Path, **texts: str) -> list[Path]:
    """Write policy files named after the keywords."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in texts.items():
        path = folder / f"{name}.toml"
        path.write_text(text)
        paths.append(path)
    return paths
