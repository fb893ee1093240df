"""Checks of the report: what passes, what is to be looked at, what fails."""

import numpy as np
import pandas as pd

from regcore.qc import checks


def test_certificate_uses_its_own_verdict_first():
    assert checks.check_certificate({"a_rms_mm": 0.05}).verdict == "pass"
    assert checks.check_certificate({"a_rms_mm": 0.05, "threshold_mm": 0.01}).verdict == "fail"
    assert checks.check_certificate({"a_rms_mm": 0.05, "unbiased": False}).verdict == "fail"
    assert checks.check_certificate(None).verdict == "none"
    assert checks.check_certificate({"a_rms_mm": float("nan")}).verdict == "fail"


def test_registrations_that_fold_fail():
    frame = pd.DataFrame({"folded_voxels": [0, 3], "inverse_consistency_mean_vox": [0.01, 0.5]})
    assert [check.verdict for check in checks.check_registrations(frame)] == ["fail", "look"]
    assert checks.check_registrations(None) == []


def test_jacobians_are_judged_by_the_labels():
    frame = pd.DataFrame(
        {
            "segmentation": ["own", "own", "own", "atlas"],
            "members": [8, 8, 4, 8],
            "correlation": [0.9, 0.8, 0.1, 0.75],
            "bias_percent": [-4.0, 6.0, 90.0, 9.0],
        }
    )
    good = checks.check_agreement(frame)
    assert (good.verdict, good.found.split("; ")[0]) == ("pass", "own: correlation 0.85, bias 5.0 %")
    # every segmentation has to agree
    loose = frame.assign(correlation=[0.9, 0.8, 0.1, 0.69])
    assert checks.check_agreement(loose).verdict == "look"
    assert checks.check_agreement(frame.assign(bias_percent=[-14.0, 16.0, 0.0, 0.0])).verdict == "look"
    for nothing in (None, frame[:0], frame[2:3], frame.assign(correlation=np.nan)):
        assert checks.check_agreement(nothing).verdict == "none"
