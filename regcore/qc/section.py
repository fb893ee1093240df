"""A section that a room of its own adds to the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from bokeh.model import Model


@dataclass(frozen=True, eq=False)
class Section:
    """What one section shows, from top to bottom: text, views, pictures, plots, tables, its parts.

    Parameters
    ----------
    name : str
        Letters; anchor of the section and its place in the navigation.
    title : str
    text : sequence of str
        Paragraphs of plain text.
    views : mapping
        Slices of images, shown on black: alternative text to PNG, JPEG or WebP bytes. Several stand side by
        side. The text is shown below, too.
    pictures : mapping
        The same of plots, on white.
    plots : mapping
        What a plot shows, for those who cannot see it, to a Bokeh model.
    tables : mapping
        Heading to table, folded until it is clicked.
    parts : sequence of Section
        Sections within; they have headings, but no place in the navigation.

    Examples
    --------
    >>> Section("statistics", "Statistics", ["No effect was found."]).title
    'Statistics'
    """

    name: str
    title: str
    text: Sequence[str] = ()
    views: Mapping[str, bytes] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    plots: Mapping[str, Model] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    parts: Sequence[Section] = ()


def every_section(sections: Sequence[Section]) -> Iterator[Section]:
    """Sections with all of their parts."""
    for section in sections:
        yield section
        yield from every_section(section.parts)
