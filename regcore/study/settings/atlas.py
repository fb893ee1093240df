"""How labels are carried from atlases to the members."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from regcore.registration.settings import DeformableSettings, RegistrationSettings

_ATLAS_TO_MEMBER = RegistrationSettings(
    linear=(), deformable=DeformableSettings(shrink=(1,), iterations=(15,))
)


@dataclass(frozen=True)
class AtlasSettings:
    """How labels are carried from atlases to the members.

    Parameters
    ----------
    name : str
        Of the set of atlases, in file names.
    participants : tuple of str
        Members whose labels are atlases.
    table : str, optional
        Further atlases: `atlas_id`, `image`, `labels`.
    label_names : str, optional
        Table with `index` and `name`.
    route : str
        ``direct`` registers every atlas to every subject; ``template`` composes their transforms;
        ``template_library`` registers the atlases to a few members, and these to every subject.
    template_library : int or tuple of str
        The members of the template library, or how many, spread evenly over the cohort.
    start : str
        Where a registration starts: the ``template`` composition, or ``none``.
    fusion : str
        ``majority``, ``local`` (weighted by local similarity), ``staple`` or ``joint``.
    radius_vox : int
        Half width of the patches of ``local`` and ``joint``.
    search_vox : int
        How far these look for the best patch of an atlas.
    alpha, beta : float
        Conditioning and exponent of ``joint``.
    validation : tuple of str
        Fusion methods by which each atlas is labelled by the others, to compare with its own labels; none
        are if it is empty.
    include_atlases : bool
        Whether atlas members are labelled too, by the other atlases.
    registration : RegistrationSettings
        Of an atlas to a subject.
    library_registration : RegistrationSettings
        Of an atlas from the table to the template.
    """

    name: str = "Cohort"
    participants: tuple[str, ...] = ()
    table: str | None = None
    label_names: str | None = None
    route: str = "direct"
    template_library: int | tuple[str, ...] = 5
    start: str = "template"
    fusion: str = "joint"
    radius_vox: int = 1
    search_vox: int = 2
    alpha: float = 0.1
    beta: float = 2.0
    validation: tuple[str, ...] = ("majority", "local", "staple", "joint")
    include_atlases: bool = False
    registration: RegistrationSettings = _ATLAS_TO_MEMBER
    library_registration: RegistrationSettings = field(default_factory=RegistrationSettings)

    @property
    def needs_template(self) -> bool:
        """Whether transforms to the template are used."""
        return self.route == "template" or self.start == "template"

    @property
    def carrying(self) -> AtlasSettings:
        """Settings that carrying an atlas depends on: not the fusion."""
        kept = ("route", "start", "registration")
        return AtlasSettings(**{name: getattr(self, name) for name in kept})

    @property
    def labelling(self) -> AtlasSettings:
        """Settings that the labels of a subject depend on: validation is a matter of its own."""
        return replace(self, validation=())

    @property
    def validated(self) -> tuple[str, ...]:
        """Fusion methods to validate: those asked for, and the one that labels the subjects."""
        asked = self.validation and (*self.validation, self.fusion)
        return tuple(dict.fromkeys(asked))
