"""Sound files of every kind that a user may hand over, small, for the fuzzer to damage."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
from functools import cache
from pathlib import Path

import h5py
import nibabel
import numpy as np

from regcore.image import Image
from regcore.io.arrays import write_arrays
from regcore.io.itk import write_transform
from regcore.io.landmarks import write_landmarks
from regcore.io.nifti import write_image
from regcore.landmarks import Landmarks
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement

GRID = Grid((5, 6, 4), np.diag([2.0, 1.5, 3.0, 1.0]))
AFFINE = Affine.from_parameters(translation=(1, 2, 3))
TSV = "participant_id\tsession_id\timage\tage\tsex\nsub-01\t1\ta.nii\t40\tF\nsub-02\tn/a\ta.nii\t41.5\tM\n"
FCSV = "# Markups fiducial file\n# CoordinateSystem = LPS\n# columns = id,x,y,z,label\n1,1,2,3,tip\n"
STUDY = """\
cohort: {source: cohort.tsv, entities: {run: "1"}}
targets: [template, report]
template:
  name: Study
  stages:
    - {name: rigid, repeats: 2, linear: [{model: rigid, metric: mi, shrink: [4], iterations: [40]}]}
    - {name: fine, deformable: {metric: lncc, radius: 2, shrink: [2, 1], iterations: [20, 10]}}
atlas: {participants: ["01"], registration: default, alpha: 0.1}
report: {title: Ours}
"""


def field() -> Displacement:
    """A small displacement."""
    values = np.random.default_rng(0).normal(0, 0.2, (*GRID.shape, 3))
    return Displacement(values.astype(np.float32), GRID)


def nifti(dtype: str = "int16", shape: tuple[int, ...] = GRID.shape, version: int = 1) -> bytes:
    """A NIfTI file that stores ramps, with a slope."""
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = kind(values, GRID.affine)
    if np.dtype(dtype).kind in "iu":
        image.header.set_slope_inter(0.5, 1)
    return bytes(image.to_bytes())


def written(name: str, write) -> bytes:
    """What a writer of ours puts into a file of this name."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def foreign_hdf5() -> bytes:
    """A composite as another program writes it: nothing follows the HDF5 content."""
    content = written("a.h5", lambda path: write_transform(path, Chain((AFFINE, field())), compression=True))
    with h5py.File(io.BytesIO(content), "r") as file:
        return content[: file.id.get_filesize()] if hasattr(file.id, "get_filesize") else content


def matlab() -> bytes:
    """ANTs' affine."""
    content = b""
    for name, values in ((b"AffineTransform_double_3_3\0", np.eye(4)[:3].ravel()), (b"fixed\0", np.zeros(3))):
        content += struct.pack("<5i", 0, values.size, 1, 0, len(name)) + name + values.astype("<f8").tobytes()
    return content


def metaimage(extension: str) -> bytes:
    """A MetaImage or NRRD file with its voxels inside."""
    voxels = np.arange(120, dtype="<i2").tobytes()
    if extension == ".nrrd":
        head = (
            "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 6 4\n"
            "space directions: (2,0,0) (0,1.5,0) (0,0,3)\nendian: little\nencoding: raw\n"
            "space origin: (0,0,0)\n\n"
        )
        return head.encode() + voxels
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        "ElementSpacing = 2 1.5 3\nDimSize = 5 6 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    return head.encode() + voxels


@cache
def seeds() -> dict[str, list[tuple[str, bytes]]]:
    """File name and content of sound files, by kind."""
    floats = Image(np.random.default_rng(1).normal(0, 1, GRID.shape).astype(np.float32), GRID)
    marks = Landmarks(np.array([[1.0, 2, 3], [4, 5, 6.5]]), ("tip", "base"))
    plain = [
        nifti(),
        nifti("float32"),
        nifti("uint8", (7, 5)),
        nifti("int16", (4, 4, 4, 1)),
        nifti("float64", version=2),
    ]
    return {
        "nifti": [("a.nii", content) for content in plain],
        "nifti_packed": [
            ("a.nii.gz", gzip.compress(nifti())),
            ("a.nii.gz", written("a.nii.gz", lambda path: write_image(path, floats))),
        ],
        "itk_text": [("a.txt", written("a.txt", lambda path: write_transform(path, AFFINE)))],
        "itk_matlab": [("a.mat", matlab())],
        "itk_field_image": [("a.nii.gz", gzip.compress(nifti("float32", (4, 3, 3, 1, 3))))],
        "hdf5_ours": [
            ("a.h5", written("a.h5", lambda path: write_transform(path, Chain((AFFINE, field()))))),
            ("a.h5", written("a.h5", lambda path: write_transform(path, AFFINE))),
        ],
        "hdf5_foreign": [("a.h5", foreign_hdf5())],
        "metaimage": [("a.mha", metaimage(".mha"))],
        "nrrd": [("a.nrrd", metaimage(".nrrd"))],
        "arrays": [("a.npz", written("a.npz", lambda path: write_arrays(path, {"x": np.arange(5.0)})))],
        "cohort": [("cohort.tsv", TSV.encode()), ("cohort.csv", TSV.replace("\t", ",").encode())],
        "atlas_table": [("atlases.tsv", b"atlas_id\timage\tlabels\nA1\ta.nii\ta.nii\nB2\ta.nii\ta.nii\n")],
        "label_table": [("a_dseg.tsv", b"index\tname\tcolor\n1\tLeft\t#ff0000\n2\tRight\t#00ff00\n")],
        "landmarks": [
            ("a.fcsv", FCSV.encode()),
            ("a.pts", b"point\n2\n1 2 3\n4 5 6\n"),
            ("a.csv", b"name,x,y,z\ntip,1,2,3\n"),
            ("a.mrk.json", written("a.mrk.json", lambda path: write_landmarks(path, marks))),
        ],
        "json": [("manifest.json", json.dumps({"members": {"sub-01": {"status": "ok"}}}).encode())],
        "yaml": [("study.yaml", STUDY.encode())],
    }
