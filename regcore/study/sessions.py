"""Sessions of a subject: their template becomes a member of the population, and their transforms a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from regcore.errors import InputError, unnamed
from regcore.groupwise import foreground_box
from regcore.image import Image
from regcore.io.arrays import link_files
from regcore.io.itk import read_transform, write_transform
from regcore.io.label_tables import LABEL_COLUMNS, LabelTable, read_label_table, write_label_tables
from regcore.io.nifti import read_image, read_labels, read_mask, write_image
from regcore.labels.fuse import majority_vote
from regcore.labels.overlap import structures_of
from regcore.resample import resample
from regcore.space import Grid
from regcore.study.channels import publish_warped_channels, read_channels, read_sums
from regcore.study.job import LOGGER
from regcore.study.manifest import (
    Entry,
    content_digest,
    good,
    grid_from_dict,
    grid_to_dict,
    located,
    nobody,
    read_manifest,
    set_aside,
    write_manifest,
)
from regcore.study.outputs import Layout, describe
from regcore.study.population import publish_member
from regcore.study.publish import publish_template
from regcore.study.quality import similarity
from regcore.study.settings import PopulationSettings
from regcore.study.subjects import subject_labels
from regcore.transforms import Chain, Transform, identity, peel, split


@dataclass(frozen=True)
class Visits:
    """The usable sessions of a subject, and how they lie in its space.

    Parameters
    ----------
    subject : str
        Key of the subject.
    entry : dict
        What the manifest of the subject's prepared folder says of it.
    sessions : tuple of str
        Keys of the sessions that went through, in the order of time.
    folder : Path
        Where the subject's prepared template and mask lie.
    within : Layout
        Names of the files in the subject's space.
    """

    subject: str
    entry: Entry
    sessions: tuple[str, ...]
    folder: Path
    within: Layout

    @classmethod
    def of(cls, prepared: Path, keys: Sequence[str], within: Layout) -> Visits:
        """From the folder of the prepared subject and the keys of its sessions in the order of time."""
        ((subject, entry),) = read_manifest(prepared).items()
        known = entry.get("sessions", {subject: entry})
        usable = entry["status"] == "ok"
        good_keys = tuple(key for key in keys if usable and known.get(key, {}).get("status") == "ok")
        return cls(subject, entry, good_keys, prepared, within)

    @property
    def counting(self) -> tuple[str, ...]:
        """Those of the sessions that weigh something in the subject's template."""
        known = self.entry.get("sessions", {})
        return tuple(key for key in self.sessions if counts(known.get(key, {})))

    @property
    def grid(self) -> Grid:
        """Of the subject's template."""
        return grid_from_dict(self.entry["grid"])

    @property
    def mask(self) -> Image:
        """Foreground of the subject's template."""
        return read_mask(self.folder / self.entry["mask"])

    def to_subject(self, session: str) -> Transform:
        """Transform that brings a session's image to the subject's template."""
        return (
            identity()
            if session == self.subject
            else read_transform(self.within.forward(session), sealed=True)
        )

    def from_subject(self, session: str) -> Transform:
        """Transform that brings the subject's template to a session."""
        return (
            identity()
            if session == self.subject
            else read_transform(self.within.backward(session), sealed=True)
        )

    def labels(self, files: Mapping[str, str]) -> Iterator[tuple[str, Image]]:
        """Own labels of the sessions, as far as they can be read."""
        for session in self.sessions:
            if session in files:
                try:
                    yield session, read_labels(files[session])
                except InputError as error:
                    LOGGER.warning("%s: labels left out: %s", session, unnamed(error, files[session]))


def counts(entry: Entry) -> bool:
    """Whether a session that went through weighs anything; an only one, of which nothing is said, does."""
    return bool(entry.get("weight", 1.0) > 0)


def subject_template(
    subject: str,
    sessions: Path,
    template: Path,
    keys: Sequence[str],
    output: Path,
    within: Layout,
    labels_from: str,
    names: str | None,
) -> None:
    """Publish the template of a subject, and prepare it as a member of the population.

    Parameters
    ----------
    subject : str
    sessions : Path
        Folder with the partial sums of the subject's sessions.
    template : Path
        Folder of the template of the last iteration.
    keys : sequence of str
        The sessions in the order of time.
    output : Path
        Folder for image, mask, labels and manifest, like that of any prepared image.
    within : Layout
        Names of the files in the subject's space.
    labels_from : str
        ``first``: the labels are those of the first session that has any; ``all``: the majority of all.
        A session that weighs nothing has no say.
    names : str or None
        Table with the names of the labels.
    """
    known = read_manifest(sessions)
    if nobody([sessions]):
        reason = "; ".join(f"{key}: {entry['reason']}" for key, entry in known.items())
        reason = f"expected at least one usable session, found none ({reason})"
        write_manifest(output, {subject: set_aside("sessions", reason)})
        return
    files = {name: file for name, file in within.published().items() if name != "description"}
    image, mask = publish_template([sessions], template, files, within)
    maps = [
        read_labels(within.warped_labels(key))
        for key in keys
        if known[key]["status"] == "ok" and known[key].get("labels") and counts(known[key])
    ]
    if maps:
        labels = maps[0] if labels_from == "first" else majority_vote(maps)[0]
        table = LabelTable() if names is None else read_label_table(names)
        write_image(subject_labels(output), labels)
        write_image(within.warped_labels(subject), labels)
        write_label_tables(within.warped_labels(subject), structures_of([labels]), table)
        describe(
            within.warped_labels(subject),
            f"Own labels of the subject's sessions ({labels_from})",
            SpatialReference=within.reference,
            Columns=LABEL_COLUMNS,
        )
    own = {"image": f"{subject}_image.nii.gz", "mask": f"{subject}_mask.nii.gz"}
    write_image(output / own["image"], image)
    write_image(output / own["mask"], mask)
    channels = {name: f"{subject}_{name}_image.nii.gz" for name in read_sums([sessions])}
    for name, file in channels.items():
        write_image(output / file, read_image(within.of_template(f"{name}.nii.gz")))
    box = foreground_box(mask).tolist()
    entry = good(
        **own,
        grid=grid_to_dict(image.grid),
        box=box,
        digest=content_digest(image),
        sessions=known,
        channels=channels,
    )
    write_manifest(output, {subject: entry})
    LOGGER.info("%s: template of %d sessions", subject, sum(e["status"] == "ok" for e in known.values()))


def pass_session(subject: str, prepared: Path, output: Path, within: Layout) -> None:
    """Take the only session of a subject as it is; its space is the subject's.

    Parameters
    ----------
    subject : str
    prepared : Path
        Folder of the prepared session.
    output : Path
        Folder for the same files under the subject's name.
    within : Layout
        Names of the files in the subject's space.
    """
    ((session, entry),) = read_manifest(prepared).items()
    link_files(prepared, output)
    published = within.transforms([session]) if entry["status"] == "ok" else []
    if published:
        entry |= {"sessions": {session: good()}}
    for file in published:
        write_transform(file, identity())
    write_manifest(output, {subject: entry}, published)


def chain_sessions(
    visits: Visits,
    prepared: Sequence[Path],
    population: Path,
    output: Path,
    layout: Layout,
    settings: PopulationSettings,
) -> None:
    """Publish every session of a subject in the space of the population.

    Parameters
    ----------
    visits : Visits
    prepared : sequence of Path
        Folders of the prepared sessions.
    population : Path
        Folder of the batch that holds the subject.
    output : Path
        Folder for the manifest.
    layout : Layout
        Names of the files in the population's space.
    settings : PopulationSettings
    """
    subject = visits.subject
    there = read_manifest(population)[subject]
    if there["status"] != "ok":
        write_manifest(output, {subject: there})
        return
    template = read_image(layout.template_image)
    mask = read_mask(layout.template_mask)
    between = (
        read_transform(layout.forward(subject), sealed=True),
        read_transform(layout.backward(subject), sealed=True),
    )
    images = located(prepared)
    entries: dict[str, Entry] = {}
    for key in visits.sessions:
        if key == subject:
            # published as the member itself
            entries[key] = good()
            continue
        forward = Chain((visits.to_subject(key), between[0]))
        backward = Chain((between[1], visits.from_subject(key)))
        folder, entry = images[key]
        whole = Chain(split(forward, template.grid, peel(visits.to_subject(key))[0] @ peel(between[0])[0]))
        mode = cast(Literal["linear", "cubic"], settings.interpolation)
        warped = resample(read_image(folder / entry["image"]), template.grid, whole, mode)
        quality = {"similarity_after": similarity(template, warped)}
        publish_member(layout, key, warped, mask, forward, backward, quality, entry["digest"], whole)
        others = read_channels(folder, entry).items()
        publish_warped_channels(
            layout, key, {name: resample(image, template.grid, whole, mode) for name, image in others}
        )
        entries[key] = good(quality=quality)
        LOGGER.info("%s: similarity %.4f", key, quality["similarity_after"])
    write_manifest(output, entries, layout.transforms(key for key in entries if key != subject))
