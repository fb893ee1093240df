"""Presets: every one can be read, says what it is for, and is found by the command line and by a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from regcore.cli import main
from regcore.errors import InputError
from regcore.registration import (
    RegistrationSettings,
    preset,
    preset_names,
    preset_purpose,
    read_settings,
)
from regcore.registration.presets import preset_file
from regcore.study.settings import registration_settings

each_preset = pytest.mark.parametrize("name", preset_names())


@each_preset
def test_a_preset_is_a_file_of_settings_with_a_purpose(name: str) -> None:
    settings = preset(name)
    assert settings.linear or settings.deformable
    assert RegistrationSettings.from_dict(settings.to_dict()) == settings
    assert read_settings(preset_file(name)) == settings
    text = preset_file(name).read_text()
    assert text.startswith(f"# {preset_purpose(name)}\n")
    assert preset_purpose(name).endswith(".")
    assert len(preset_purpose(name)) < 110
    # why these values: measured, or argued
    assert len([line for line in text.splitlines() if line.startswith("#")]) > 2


def test_presets_that_must_be_there() -> None:
    named = {"default", "rigid", "affine", "multimodal", "multimodal-rigid", "multimodal-affine"}
    of_users = {"t1-brain", "ct-lung", "mouse", "small-crop", "label-map"}
    assert named | of_users <= set(preset_names())


def test_the_command_line_lists_them_and_prints_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(preset_names())
    assert all(line.endswith(".") for line in lines)
    assert main(["presets", "mouse"]) == 0
    mine = tmp_path / "settings.yaml"
    mine.write_text(capsys.readouterr().out)
    assert read_settings(mine) == preset("mouse")
    assert main(["presets", "rat"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in preset_names())


def test_a_study_takes_them_by_name() -> None:
    assert registration_settings("pairwise.registration", "mouse") == preset("mouse")
    with pytest.raises(InputError, match=r"registration\.preset: expected one of default, affine"):
        registration_settings("pairwise.registration", "rat")
    with pytest.raises(InputError, match=r"registration\.labels: expected false"):
        registration_settings("pairwise.registration", "label-map")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linear: [", "expected YAML"),
        ("- rigid", "expected keys with values, found list"),
        ("linear: rigid", "linear: expected a list of stages"),
        ("deformed: {}", "deformed: expected one of linear, deformable"),
        ("labels: 1", "labels: expected true or false, found 1"),
        ("outside: air", "outside: expected one of background, ignored, found 'air'"),
    ],
)
def test_a_file_that_is_none_is_named_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_settings(path)
    assert str(caught.value).startswith(str(path))


def test_presets_are_plain_yaml() -> None:
    for name in preset_names():
        content = yaml.safe_load(preset_file(name).read_text())
        assert set(content) <= set(RegistrationSettings().to_dict())
