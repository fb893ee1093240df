"""Sections of the report that only some studies have: strata, influence, sessions, statistics."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from regcore.image import Image
from regcore.qc.cohort_plots import influence_figure
from regcore.qc.figures import template_figure
from regcore.qc.html import number
from regcore.qc.interactive import histogram_plot
from regcore.qc.planes import Convention
from regcore.qc.plots import structure_figure
from regcore.qc.section import Section
from regcore.qc.statistics import (
    NUMBERS,
    DesignShown,
    agreement_figure,
    agreement_summary,
    contrast_figures,
)

CHANGES = {"volume_change_percent": "transforms", "own_volume_change_percent": "the labels of each session"}
"""What the change of volumes was measured by."""
NO_CHANGE_PERCENT = 1e-3
"""What rounding leaves of a rigid transform and of a moved header is less."""


def strata_section(
    strata: Sequence[tuple[str, Image]], mask: Image | None, convention: Convention
) -> Section:
    """Template of every stratum, in the planes of the template.

    Parameters
    ----------
    strata : sequence of (str, Image)
        Name and template.
    mask : Image or None
        Of the whole cohort's template.
    convention : {"neurological", "radiological"}
    """
    return Section(
        "strata",
        "Conditional templates",
        ["Mean intensity and mean shape of the members of every stratum, on the grid of the template."],
        {name: template_figure(image, mask, width_px=520, convention=convention) for name, image in strata},
    )


def influence_section(influence: pd.DataFrame) -> Section:
    """How much the template would change without each member; see `cohort_plots.influence_figure`."""
    shown = "Leave-one-out influence of every member on intensity and shape of the template"
    return Section(
        "influence",
        "Influence of every member",
        [
            "How much the template would change if one member were left out and all others kept their "
            "transforms: its intensity, upward, and its shape, across. Rings are members that pull far more "
            "than the others."
        ],
        pictures={shown: influence_figure(influence)},
        tables={"Influence of every member": influence},
    )


def asymmetry_section(asymmetry: pd.DataFrame) -> Section:
    """How unlike left and right are; a row a member and paired structure."""
    drawn = structure_figure(
        asymmetry, "structure", "asymmetry_volume", "volume asymmetry (> 0: left larger)", zero=True
    )
    return Section(
        "asymmetry",
        "Left and right",
        [
            "Asymmetry index 2 (L − R) / (L + R) of the volumes of every paired structure: 0 where both "
            "sides agree, above 0 where the left is larger."
        ],
        pictures={"Distribution of the asymmetry index of every paired structure": drawn},
        tables={"Asymmetry": asymmetry},
    )


def sessions_section(sessions: pd.DataFrame, propagation: pd.DataFrame | None) -> Section:
    """How structures change over the sessions of a subject; overlap of labels carried between sessions."""
    others = sessions[sessions["session_id"] != sessions["baseline_session_id"]]
    pictures, rigid = {}, []
    for column, source in CHANGES.items():
        change = pd.to_numeric(others.get(column, pd.Series(dtype=float)), errors="coerce")
        if (change.abs() > NO_CHANGE_PERCENT).any():
            shown = (
                f"Change of every structure's volume since the baseline, by {source}, over all other sessions"
            )
            words = f"change since the baseline, by {source} (%)"
            pictures[shown] = structure_figure(others, "structure", column, words, zero=True)
        elif column == "volume_change_percent" and change.notna().any():
            rigid = [
                "By the transforms of the sessions no volume changes: within a participant they are rigid."
            ]
    tables = {"Sessions": sessions}
    if propagation is not None:
        tables["Labels carried from the other sessions, with their overlap"] = propagation
    return Section(
        "sessions",
        "Sessions",
        [
            f"{sessions['session_id'].nunique()} sessions by name, of {sessions['participant_id'].nunique()} "
            "subjects. Volumes are those of the subject's template, as the session's transform changes them. "
            "A ring is a session that changed far more than the others: look at it first.",
            *rigid,
        ],
        pictures=pictures,
        tables=tables,
    )


def accumulated_section(accumulated: pd.DataFrame, histograms: pd.DataFrame, what: str) -> Section:
    """How maps that were added up over sessions, such as doses, are spread over structures."""
    shown = (
        f"Cumulative volume histograms of the accumulated {what}, a panel a structure, a line a participant"
    )
    return Section(
        "accumulated",
        f"Accumulated {what}",
        [
            f"How much of a structure has at least so much of the {what} that was added up over the sessions "
            "on the template of each participant. A line is a participant: one apart from the others is a "
            "true difference, or a session that was registered wrongly. The structures with the largest "
            "values are shown; all are in histograms.tsv."
        ],
        plots={shown: histogram_plot(histograms, what)} if (histograms["volume_share"] > 0).any() else {},
        tables={f"Accumulated {what} by structure": accumulated},
    )


def agreement_section(volumes: pd.DataFrame, jacobians: pd.DataFrame, consistency: pd.DataFrame) -> Section:
    """Volumes by transforms beside volumes by labels: the tables of the study."""
    medians = ", ".join(f"{name} {number(value)}" for name, value in agreement_summary(consistency))
    return Section(
        "agreement",
        "Agreement of Jacobians and labels",
        [
            "Two measures of the same volume: the integral of the Jacobian over the template's label, which "
            "knows the transform alone, and the member's own label map. Dots along the dashed line say that "
            f"the transforms follow the members. Median over structures: {medians}."
        ],
        pictures={
            "Integrated Jacobians against label volumes, by member and by structure": agreement_figure(
                volumes, jacobians, consistency
            )
        },
        tables={"Consistency of every structure": consistency},
    )


def statistics_section(
    designs: Sequence[DesignShown], template: Image | None, mask: Image | None, convention: Convention
) -> Section:
    """What every design found, contrast by contrast.

    Parameters
    ----------
    designs : sequence of DesignShown
    template, mask : Image or None
        That the maps are shown on.
    convention : {"neurological", "radiological"}
    """
    parts = []
    for index, design in enumerate(designs, start=1):
        contrasts = []
        for place, contrast in enumerate(design.summary["Contrasts"], start=1):
            views, pictures = contrast_figures(design, contrast, template, mask, convention)
            found = design.summary.get("Maps", {}).get(contrast, {})
            said = [f"{NUMBERS[name]}: {number(value)}" for name, value in found.items() if name in NUMBERS]
            text = [" · ".join(said)] if said else []
            contrasts.append(Section(f"design-{index}-contrast-{place}", contrast, text, views, pictures))
        left_out = {}
        if design.left_out is not None and len(design.left_out):
            left_out = {f"Who did not take part ({len(design.left_out)})": design.left_out}
        parts.append(
            Section(
                f"design-{index}",
                f"{design.name}: {design.summary['Formula']}",
                [words_of(design)],
                tables=left_out,
                parts=contrasts,
            )
        )
    return Section("statistics", "Statistics", parts=parts)


def words_of(design: DesignShown) -> str:
    """Who took part in a design, and how it was tested."""
    summary = design.summary
    said = [
        f"{summary['Members']} members took part, {summary['LeftOut']} did not",
        f"{number(summary['DegreesOfFreedom'])} degrees of freedom",
    ]
    if summary.get("Random"):
        said.append(f"random intercept for each {summary['Random']}")
    if summary.get("Permutations"):
        said.append(f"{summary['Permutations']} permutations")
    colours = " Red: the response grows with what is tested, blue: it shrinks." if design.maps else ""
    return "; ".join(said) + "." + colours
