"""Images that lie in an object store, and results that go there: S3 as moto has it, on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regcore.errors import InputError
from regcore.io.cohort import read_cohort
from tests.workflows import arguments, config_for, labels_of, write_head

MEMBERS = ("a", "b", "c")


def test_objects_are_listed_by_their_local_copies(tmp_path: Path) -> None:
    table = tmp_path / "cohort.tsv"
    table.write_text("participant_id\timage\nsub-a\ts3://study/a.nii.gz\n")
    asked: list[str] = []

    def stored(address: str) -> str:
        asked.append(address)
        return "local/a.nii.gz"

    (member,) = read_cohort(table, stored=stored)
    assert (member.image, asked) == (Path("local/a.nii.gz"), ["s3://study/a.nii.gz"])
    with pytest.raises(InputError, match="expected a file as image, found the address of an object: s3://"):
        read_cohort(table)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """Address of an S3 server that forgets everything at the end."""
    pytest.importorskip("snakemake_storage_plugin_s3", reason="object stores need the extra 's3'")
    pytest.importorskip("moto.server", reason="the S3 server of the tests needs moto and flask")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "moto.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(300):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_images_come_from_a_bucket_and_results_go_there(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    keys = {"ACCESS_KEY": "anyone", "SECRET_KEY": "nothing"}
    for name, value in {**keys, "ENDPOINT_URL": store}.items():
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", value)
    bucket = boto3.resource(
        "s3",
        endpoint_url=store,
        region_name="us-east-1",
        aws_access_key_id=keys["ACCESS_KEY"],
        aws_secret_access_key=keys["SECRET_KEY"],
    ).Bucket("study")
    bucket.create()
    made, study = tmp_path / "made", tmp_path / "study"
    made.mkdir()
    study.mkdir()
    rows = ["participant_id\timage\tlabels\tage"]
    for number, name in enumerate(MEMBERS):
        image = made / f"{name}.nii.gz"
        write_head(image, number)
        for file in (image, labels_of(image)):
            bucket.upload_file(str(file), f"raw/{file.name}")
        addresses = [f"s3://study/raw/{file.name}" for file in (image, labels_of(image))]
        rows.append("\t".join([f"sub-{name}", *addresses, str(30 + number)]))
    (study / "cohort.tsv").write_text("\n".join(rows) + "\n")
    shutil.rmtree(made)

    config = config_for(study, upload_to="s3://study/derivatives/regcore")
    command = arguments(study, config)
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert found.returncode == 0, found.stderr[-3000:]
    published = {
        str(file.relative_to(study / "results")): file.stat().st_size
        for file in (study / "results").rglob("*")
        if file.is_file() and "work" not in file.parts and file.name != ".snakemake_timestamp"
    }
    uploaded = {item.key: item.size for item in bucket.objects.filter(Prefix="derivatives/regcore/")}
    assert uploaded == {f"derivatives/regcore/{name}": size for name, size in published.items()}
    assert {"report.html", "qc.tsv", ".bidsignore"} <= set(published)
    assert any(name.startswith("sub-c/anat/sub-c_atlas-") for name in published)
    # what was fetched is not kept
    assert not list((study / ".snakemake" / "storage").rglob("*.nii.gz"))

    again = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert "Nothing to be done" in again.stderr + again.stdout, again.stdout[-2000:]
