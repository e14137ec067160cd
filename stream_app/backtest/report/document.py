"""A self-contained HTML document: style, script and figures inside, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from stream_app.adapters.whole_files import written_whole
from stream_app.backtest.report.colours import tier_styles
from stream_app.backtest.report.markup import Markup, json_script, tag

_PACKAGE: Final = "stream_app.backtest.report"


def render_document(title: str, tier_counts: Iterable[int], summary: Mapping[str, Any], *body: Markup | None) -> str:
    """Render a whole page around its content.

    Parameters
    ----------
    title
        Shown by the browser.
    tier_counts
        Numbers of tiers that the page has colours for.
    summary
        Embedded as JSON, in the element `summary`.
    body
        Content; None is left out.

    Returns
    -------
    str
        A whole document.
    """
    script = Markup(_asset("report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(_asset("report.css") + tier_styles(tier_counts))),
    )
    content = tag(
        "body",
        *body,
        tag("div", id="tip", role="status", hidden=True),
        json_script("summary", summary),
        tag("script", script),
    )
    return f"<!doctype html>\n{tag('html', head, content, lang='en')}\n"


def write_document(path: Path, page: str) -> None:
    """Write a page so that a reader sees the old one or the new one, never half of one.

    Parameters
    ----------
    path
        Where to; a file there is replaced.
    page
        The whole document.
    """
    with written_whole(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(page)
        file.flush()
        os.fsync(file.fileno())


def _asset(name: str) -> str:
    return (files(_PACKAGE) / name).read_text(encoding="utf-8")
