"""A reader of the report for its tests: text, tables, attributes and scripts of the page."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a browser would make of a page, as far as the tests need it.

    Parameters
    ----------
    html
        The whole document.

    Attributes
    ----------
    texts
        Every piece of text outside of scripts and styles.
    tables
        Every table as rows of cell texts, headings first.
    attributes
        Every attribute as element, name and value.
    scripts
        Attributes and content of every script.
    headings
        Texts of h1 to h3.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.headings: list[str] = []
        self._raw: list[str] | None = None
        self._cell: list[str] | None = None
        self._heading: list[str] | None = None
        self._script_attributes: dict[str, str | None] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and its attributes."""
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if tag in ("script", "style"):
            self._raw, self._script_attributes = [], dict(attrs)
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif tag in ("h1", "h2", "h3"):
            self._heading = []

    def handle_endtag(self, tag: str) -> None:
        """Put together what an element held."""
        if tag in ("script", "style") and self._raw is not None:
            if tag == "script":
                self.scripts.append((self._script_attributes, "".join(self._raw)))
            self._raw = None
        elif tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append("|".join(self._cell))
            self._cell = None
        elif tag in ("h1", "h2", "h3") and self._heading is not None:
            self.headings.append("".join(self._heading))
            self._heading = None

    def handle_data(self, data: str) -> None:
        """Note a piece of text."""
        if self._raw is not None:
            self._raw.append(data)
            return
        self.texts.append(data)
        for kept in (self._cell, self._heading):
            if kept is not None:
                kept.append(data)

    def table_with(self, *heads: str) -> list[list[str]]:
        """Find the first table whose headings begin with these."""
        for table in self.tables:
            if table and table[0][: len(heads)] == list(heads):
                return table
        message = f"no table begins with {heads}; there are {[table[0] for table in self.tables if table]}"
        raise AssertionError(message)
