"""Where a map folds, what lies together is mended together."""

import numpy as np
import pytest
from scipy import ndimage

from regcore.registration.folds import _clusters


@pytest.mark.parametrize("share", [0.02, 0.06, 0.2])
def test_clusters_are_those_of_scipy(share: float) -> None:
    taken = np.random.default_rng(7).random((13, 11, 12)) < share
    numbers, count = ndimage.label(taken, np.ones((3, 3, 3)))
    found = _clusters(np.argwhere(taken))
    assert count > 1
    np.testing.assert_array_equal(found, numbers[taken] - 1)
