"""The ways of labels from atlases to an image: direct, through the template, through a template library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regcore.errors import InputError, unnamed
from regcore.image import Image
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import read_image, read_labels
from regcore.labels.propagate import propagate
from regcore.registration import register
from regcore.space import Grid
from regcore.study.atlases import Atlas
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, located, set_aside, write_manifest
from regcore.study.outputs import Layout
from regcore.study.quality import affine_quality, similarity
from regcore.study.settings import AtlasSettings
from regcore.transforms import Chain, Transform, identity, peel, split

Located = Mapping[str, tuple[Path, Entry]]


@dataclass(frozen=True)
class Places:
    """Where the images and transforms that a job reads lie.

    Parameters
    ----------
    layout : Layout
        Of the published files.
    prepared : mapping
        Folder and entry of each prepared image, members and atlases of the table.
    population : mapping
        Folder and entry of each member on the template; empty where no template is used.
    library : mapping
        Folder and entry of each member of the template library.
    """

    layout: Layout
    prepared: Located
    population: Located = field(default_factory=dict)
    library: Located = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        layout: Layout,
        prepared: Sequence[Path],
        population: Sequence[Path] = (),
        library: Sequence[Path] = (),
    ) -> Places:
        """From the folders of the jobs that made them."""
        return cls(layout, located(prepared), located(population), located(library))

    def image(self, key: str) -> Image:
        """A prepared image.

        Raises
        ------
        InputError
            If it was set aside, by its preparation or on its way to the template.
        """
        folder, entry = self.prepared[key]
        for known in (entry, self.population.get(key, (folder, entry))[1]):
            if known["status"] != "ok":
                raise InputError(f"{key}: expected a usable image, found: {known['reason']}")
        return read_image(folder / entry["image"])

    def forward(self, key: str) -> Transform:
        """Transform that brings an image to the template."""
        return self._transform(key, "forward", self.layout.forward(key))

    def backward(self, key: str) -> Transform:
        """Transform that brings the template to an image."""
        return self._transform(key, "backward", self.layout.backward(key))

    def _transform(self, key: str, way: str, published: Path) -> Transform:
        folder, entry = self.prepared[key]
        # an atlas of the table has its own beside its image
        file = folder / entry[way] if way in entry else published
        if not file.exists():
            raise InputError(f"{key}: expected a transform to the template, found none")
        return read_transform(file, sealed=True)


@dataclass(frozen=True)
class Candidates:
    """What the atlases propose for an image.

    Parameters
    ----------
    labels, images : list of Image
        Labels and intensities of each atlas on the image's grid, once for each way they came.
    sources : list of str
        Key of the atlas of each.
    registrations : list of dict
        A row a registration that was made for it: `atlas` and its quality.
    """

    labels: list[Image] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    registrations: list[dict[str, Any]] = field(default_factory=list)


def carry(
    key: str, target: Image, atlases: Sequence[Atlas], places: Places, settings: AtlasSettings
) -> Candidates:
    """Bring all atlases but the image itself to an image; one that fails is left out with a warning.

    Parameters
    ----------
    key : str
        Of the image.
    target : Image
        Prepared.
    atlases : sequence of Atlas
    places : Places
    settings : AtlasSettings

    Returns
    -------
    Candidates

    Raises
    ------
    InputError
        If no atlas comes through.
    """
    found = Candidates()
    others = [atlas for atlas in atlases if atlas.key != key]
    stations = (
        list(places.library) if settings.route == "template_library" else [atlas.key for atlas in others]
    )
    for station in stations:
        try:
            way, quality = _way(key, target, station, places, settings)
        except InputError as error:
            LOGGER.warning("%s: %s left out: %s", key, station, error)
            continue
        if quality:
            found.registrations.append({"atlas": station, **quality})
            LOGGER.info("%s <- %s: similarity %.4f", key, station, quality["similarity_after"])
        behind = [atlas for atlas in others if settings.route == "template_library" or atlas.key == station]
        for atlas, transform in _beyond(behind, station, way, places):
            try:
                own = read_labels(atlas.labels), places.image(atlas.key)
            except InputError as error:
                LOGGER.warning("%s: %s left out: %s", key, atlas.key, unnamed(error, atlas.labels))
                continue
            labels, image = propagate(*own, target.grid, transform)
            found.labels.append(labels)
            found.images.append(image)
            found.sources.append(atlas.key)
            if not quality:
                row = {"atlas": atlas.key, "similarity_after": similarity(target, image)}
                found.registrations.append(row)
    if not found.labels:
        raise InputError(f"{key}: expected at least one usable atlas, found none")
    return found


def _way(
    key: str, target: Image, station: str, places: Places, settings: AtlasSettings
) -> tuple[Transform, dict[str, Any]]:
    """Transform from an image to an atlas or member of the library, and its quality if it was registered."""
    moving = places.image(station)
    if station == key:
        return identity(), {}
    start: Transform | None = None
    if settings.needs_template:
        start = through_template(places.forward(station), places.backward(key), target.grid)
    if settings.route == "template":
        assert start is not None
        return start, {}
    result = register(target, moving, settings.registration, initial=start)
    return result.forward, result.quality | affine_quality(result.forward, target)


def _beyond(
    atlases: Sequence[Atlas], station: str, way: Transform, places: Places
) -> Iterator[tuple[Atlas, Transform]]:
    """Transforms on to the atlases that are reached through a member of the library, or that it is itself."""
    for atlas in atlases:
        if atlas.key == station:
            yield atlas, way
            continue
        folder, entry = places.library[station]
        if atlas.key in entry["transforms"]:
            yield atlas, Chain((read_transform(folder / entry["transforms"][atlas.key], sealed=True), way))


def register_library(
    member: str, atlases: Sequence[Atlas], places: Places, output: Path, settings: AtlasSettings
) -> None:
    """Register every atlas to a member of the template library.

    Parameters
    ----------
    member : str
    atlases : sequence of Atlas
    places : Places
    output : Path
        Folder for the transforms and the manifest.
    settings : AtlasSettings

    References
    ----------
    Pipitone, J. et al. (2014), doi:10.1016/j.neuroimage.2014.04.054.
    """
    transforms: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    try:
        target = places.image(member)
    except InputError as error:
        write_manifest(output, {member: set_aside("atlas", str(error))})
        return
    for atlas in atlases:
        if atlas.key == member:
            continue
        try:
            transform, quality = _way(member, target, atlas.key, places, settings)
        except InputError as error:
            LOGGER.warning("%s: atlas %s left out: %s", member, atlas.key, error)
            continue
        transforms[atlas.key] = f"{atlas.key}_forward.h5"
        write_transform(output / transforms[atlas.key], transform)
        rows.append({"atlas": atlas.key, **quality})
        LOGGER.info("%s <- %s: similarity %.4f", member, atlas.key, quality["similarity_after"])
    write_manifest(output, {member: good(transforms=transforms, registrations=rows)})


def through_template(atlas: Transform, member_inverse: Transform, grid: Grid) -> Chain:
    """Transform from a member to an atlas by way of the template, on the member's grid.

    Parameters
    ----------
    atlas : Transform
        World mm of the template to world mm of the atlas, an affine applied last.
    member_inverse : Transform
        World mm of the member to world mm of the template, an affine applied first.
    grid : Grid
        Of the member.

    Returns
    -------
    Chain
        ``(Affine, Displacement)``: the affines of both stay out of the displacement, which is then small.
    """
    outer, _ = peel(atlas)
    # the inverse of the member's transform ends in its affine: read it off the inverse of the inverse
    first, _ = peel(Chain(tuple(reversed(Chain((member_inverse,)).transforms))))
    return Chain(split(Chain((atlas, member_inverse)), grid, affine=outer @ first))
