"""The page around the charts, and how it gets to disk."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from stream_app.backtest.report.data import ReportData
from stream_app.backtest.summary import five_numbers


def render_report(data: ReportData) -> str:
    """Render the report as one HTML page without external references."""
    numbers = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in five_numbers(data.summary)
    )
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>Backtest</title><dl>{numbers}</dl></html>"


def write_report(path: Path, data: ReportData) -> None:
    """Write the report so that a reader sees the old page or the new one, never half of one."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(render_report(data))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
