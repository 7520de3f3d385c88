"""The page's sections, and the list of contents that leads to each of them and to every table and figure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mm3d_benchmarks.reports.captions import number_of
from mm3d_benchmarks.reports.tables import Table


@dataclass(frozen=True)
class Entry:
    """A line of the contents: the element's id, its number (``Table 7``, or empty) and its title."""

    target: str
    number: str
    title: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: id of the element.
        body: HTML.
        entries: what the contents list below the section.
    """

    name: str
    title: str
    body: str
    entries: Sequence[Entry] = ()

    def html(self) -> str:
        """The section's element."""
        return f'<section id="{self.name}"><h2>{html.escape(self.title)}</h2>{self.body}</section>'


def table_entry(table: Table) -> Entry:
    """The line of a table."""
    return Entry(table_id(table.name), number_of(table.name, figure="{kind} {number}, numbers"), table.title)


def table_id(name: str) -> str:
    """The id of a table; the page's own ids are single words, as a table's name may be."""
    return name if "_" in name else f"table_{name}"


def picture_id(stem: str) -> str:
    """The id of a picture; a table may have the picture's name for its own."""
    return f"picture_{stem}"


def picture_entry(stem: str, title: str) -> Entry:
    """The line of a picture; its number stands in front, not behind the title as well."""
    return Entry(picture_id(stem), number_of(stem), re.sub(r" \(Figure \d+[^)]*\)$", "", title))


def contents(sections: Iterable[Section]) -> str:
    """The list, as nested links."""
    return "<ul>" + "".join(_section(section) for section in sections) + "</ul>"


def _section(section: Section) -> str:
    inner = "".join(f"<li>{_link(entry.target, entry.number, entry.title)}</li>" for entry in section.entries)
    return f"<li>{_link(section.name, '', section.title)}{f'<ul>{inner}</ul>' if inner else ''}</li>"


def _link(target: str, number: str, title: str) -> str:
    numbered = f"<b>{html.escape(number)}</b> " if number else ""
    return f'<a href="#{html.escape(target)}">{numbered}{html.escape(title)}</a>'
