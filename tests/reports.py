"""Images and names that the tests of pictures and reports share."""

import io

import numpy as np
import pandas as pd
from PIL import Image as Picture

from regcore.image import Image
from regcore.qc.report import ReportData
from regcore.qc.slices import sheet_of, slice_sheet
from regcore.space import Grid

HOSTILE = "</script><script>alert(1)</script>\"'&$x_1^{$ {{ 7*7 }}"


def ball(affine=None, shape=(24, 28, 20), radius=8.0):
    grid = Grid(shape, np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine)
    offset = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(offset, axis=-1)
    data = np.clip(radius - distance, 0, 1) * (1 + (distance < radius / 2))
    return Image(data.astype(np.float32), grid)


def picture_of(png):
    return Picture.open(io.BytesIO(png))


def full_data():
    image = ball()
    members = [f"sub-{i:02d}" for i in range(5)] + [HOSTILE]
    structures = pd.DataFrame(
        [
            {"participant_id": m, "label": s, "structure": f"{HOSTILE}{s}", "volume_mm3": 10.0 + i + s,
             "absolute_mean": 0.1 * i, "relative_mean": 0.02 * i, "dice": 0.8}
            for i, m in enumerate(members) for s in (1, 2)
        ]
    )  # fmt: skip
    registrations = pd.DataFrame(
        {"participant_id": members, "similarity_after": [0.8, 0.81, 0.79, 0.8, 0.8, 0.1], "folded_voxels": 0}
    )
    return ReportData(
        title=HOSTILE,
        versions={HOSTILE: HOSTILE},
        settings={HOSTILE: {HOSTILE: [HOSTILE]}},
        cohort=pd.DataFrame({HOSTILE: [HOSTILE]}),
        quarantine=pd.DataFrame({"participant_id": [HOSTILE], "reason": [HOSTILE]}),
        templates=[(HOSTILE, image), ("last", image)],
        template_mask=Image((image.data > 0).astype(np.uint8), image.grid),
        convergence=pd.DataFrame({"iteration": [1, 2], "stage": HOSTILE, "rms_shape_update_mm": [1.0, 0.05]}),
        convergence_threshold_mm=0.1,
        certificate={HOSTILE: HOSTILE, "mean_displacement_rms_mm": 0.01},
        members=[("sub-" + m.removeprefix("sub-"), slice_sheet(image, sheet_of(image))) for m in members],
        variance=image,
        volumes=structures,
        jacobians=structures,
        overlap=structures,
        validation=pd.DataFrame(
            {
                "atlas": [HOSTILE, "sub-1"] * 2,
                "fusion": [HOSTILE, HOSTILE, "joint", "joint"],
                "structure": HOSTILE,
                "dice": [0.5, 0.6, 0.7, 0.9],
                "hausdorff95_mm": [3.0, 2.0, 2.0, np.nan],
                "surface_distance_mm": [1.0, 1.0, 0.5, np.nan],
                "volume_bias_percent": [-10.0, 5.0, 1.0, np.nan],
            }
        ),
        fusion="joint",
        registrations=registrations,
        runtime=pd.DataFrame({"rule": [HOSTILE, "b"], "seconds": [3.0, 4.0], "memory_mb": [10.0, 20.0]}),
        outputs=pd.DataFrame({"path": [HOSTILE], "description": [HOSTILE]}),
    )
