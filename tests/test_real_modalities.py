"""T1 and T2 of one head onto its FLAIR, judged by the transforms that came with the data set."""

import numpy as np
import pytest

from regcore.io.itk import read_transform
from regcore.io.nifti import read_image
from regcore.registration import LinearSettings, RegistrationSettings, register


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["mi", "nmi", "ecc", "mind"])
@pytest.mark.parametrize("moving", ["study1_T1W", "study1_T2W"])
def test_other_contrasts_of_a_head_land_on_its_flair(real_data, moving, metric):
    folder = real_data("multimodal") / "patient12"
    fixed = read_image(folder / "study1_FLAIR.nii.gz")
    truth = read_transform(folder / f"{moving}_intrastudy_to_FLAIR.txt")
    settings = RegistrationSettings((LinearSettings("rigid", metric),), None)
    result = register(fixed, read_image(folder / f"{moving}.nii.gz"), settings)
    head = fixed.grid.to_world(np.argwhere(fixed.data > np.percentile(fixed.data, 80))[::997])
    error = np.linalg.norm(result.forward(head) - truth(head), axis=1)
    # voxels are 0.7 by 0.7 by 3 mm
    assert error.mean() < 1.0
    assert error.max() < 2.0
