"""A section that a room of its own adds to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from bokeh.model import Model


@dataclass(frozen=True, eq=False)
class Section:
    """What one section shows, from top to bottom: text, pictures, plots, tables.

    Parameters
    ----------
    name : str
        Letters; anchor of the section and its place in the navigation.
    title : str
    text : sequence of str
        Paragraphs of plain text.
    pictures : mapping
        Alternative text to PNG, JPEG or WebP bytes; the text is shown below the picture too.
    plots : mapping
        What a plot shows, for those who cannot see it, to a Bokeh model.
    tables : mapping
        Heading to table.

    Examples
    --------
    >>> Section("statistics", "Statistics", ["No effect was found."]).title
    'Statistics'
    """

    name: str
    title: str
    text: Sequence[str] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    plots: Mapping[str, Model] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
