"""HTML built from parts that escape themselves: only `Markup` is taken as it is, and only `tag` makes it."""

from __future__ import annotations

import json
from html import escape
from typing import Any, Final

_VOID: Final = frozenset({"meta", "link", "br", "line", "rect", "path", "polygon", "col"})
_REPLACED: Final = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"}


class Markup(str):
    """HTML that is already safe."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Make anything safe to stand in HTML: escaped, control characters and broken Unicode replaced.

    Parameters
    ----------
    value
        `Markup` stays as it is; everything else is turned into a string and escaped, quotes too.

    Returns
    -------
    Markup

    Examples
    --------
    >>> text("<b>&")
    '&lt;b&gt;&amp;'
    """
    if isinstance(value, Markup):
        return value
    whole = str(value).encode("utf-8", "replace").decode("utf-8")
    return Markup(escape(whole.translate(_REPLACED)))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Build an element.

    Parameters
    ----------
    name
        Name of the element.
    children
        Escaped unless they are `Markup`; None is left out.
    attributes
        Values are escaped; None and False are left out, True stands without a value. A trailing underscore is dropped
        and the others become hyphens, so that `class_` and `data_x` can be written.

    Returns
    -------
    Markup

    Examples
    --------
    >>> tag("p", "a < b", class_="note", hidden=True)
    '<p class="note" hidden>a &lt; b</p>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{text(value)}"')
    opened = f"<{' '.join(parts)}>"
    if name in _VOID:
        # In SVG an element must be closed, and in HTML the slash does no harm.
        return Markup(f"{opened[:-1]}/>")
    return Markup(f"{opened}{join(*children)}</{name}>")


def join(*children: object) -> Markup:
    """Put parts one after the other; None is left out."""
    return Markup("".join(text(child) for child in children if child is not None))


def json_script(identifier: str, value: Any) -> Markup:
    """Embed a value as JSON that no content can break out of.

    Parameters
    ----------
    identifier
        Id of the element.
    value
        Plain values; NaN and infinity are not allowed.

    Returns
    -------
    Markup
    """
    content = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        content = content.replace(character, f"\\u{ord(character):04x}")
    return tag("script", Markup(content), type="application/json", id=identifier)
