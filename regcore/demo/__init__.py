"""The demo: eight subjects with known truth, and how far a result is from that truth.

The anatomy is real: the ICBM 2009a T1, grey- and white-matter maps that nilearn carries as package data.
Each subject is that head under a known smooth diffeomorphism and pose, on a grid of its own, with contrast,
bias field and noise of its own. The ventricles grow with age, so that the tables have something to find.

Run ``python -m regcore.demo make FOLDER``, the workflow on ``FOLDER/config.yaml``, then
``python -m regcore.demo compare FOLDER``.
"""

from regcore.demo.cohort import make_demo, make_subjects
from regcore.demo.truth import compare_with_truth

__all__ = ["compare_with_truth", "make_demo", "make_subjects"]
