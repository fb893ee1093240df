"""Settings named for what they are used on: the YAML files in ``regcore/presets``, and files like them."""

from __future__ import annotations

import os
from pathlib import Path

from regcore.errors import InputError
from regcore.io.tables import read_text, read_yaml
from regcore.registration.settings import RegistrationSettings

FOLDER = Path(__file__).parents[1] / "presets"


def preset_names() -> tuple[str, ...]:
    """Names of all presets, ``default`` first.

    Examples
    --------
    >>> preset_names()[0]
    'default'
    """
    names = [path.stem for path in FOLDER.glob("*.yaml")]
    return tuple(sorted(names, key=lambda name: (name != "default", name)))


def preset(name: str) -> RegistrationSettings:
    """Settings of a preset.

    Parameters
    ----------
    name : str
        See `preset_names`.

    Raises
    ------
    InputError
        If there is no preset of that name.

    Examples
    --------
    >>> preset("default") == RegistrationSettings()
    True
    """
    return read_settings(preset_file(name))


def preset_file(name: str) -> Path:
    """The YAML file of a preset, which says what it is for and how its values were chosen.

    Raises
    ------
    InputError
        If there is no preset of that name.
    """
    names = preset_names()
    if name not in names:
        raise InputError(f"preset: expected one of {', '.join(names)}, found {name!r}")
    return FOLDER / f"{name}.yaml"


def preset_purpose(name: str) -> str:
    """What a preset is for: the first line of its file.

    Raises
    ------
    InputError
        If there is no preset of that name.
    """
    return read_text(preset_file(name)).splitlines()[0].removeprefix("# ")


def read_settings(path: str | os.PathLike[str]) -> RegistrationSettings:
    """Settings of a YAML file with the keys that `RegistrationSettings` has.

    Raises
    ------
    InputError
        If the file is missing or not YAML, or a key or value in it is wrong; the line names the file.
    """
    content = read_yaml(path)
    try:
        return RegistrationSettings.from_dict(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
