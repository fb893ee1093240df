"""How large images are, from their headers, and how much disk a study takes."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from regcore.errors import InputError
from regcore.io.nifti import read_grid
from regcore.space import Grid
from regcore.study.planning.labelling import LabellingPlan
from regcore.study.planning.pairs import PairsPlan
from regcore.study.planning.template import TemplatePlan

HEADERS_READ = 5
UNKNOWN = Grid((100, 100, 100), np.diag([2.0, 2.0, 2.0, 1.0]))
"""What an image is taken for whose header cannot be read before the run."""
ROOM = 8
"""Voxels that a template's grid has more along an axis than an image, around every foreground."""

# bytes a voxel of the template: a transform, a warped image, a log-Jacobian
TRANSFORM_BYTES, WARPED_BYTES, JACOBIAN_BYTES = 12, 2, 3
# a batch's sums; what an iteration leaves behind; labels carried to an image with their confidence
SUMS_BYTES, ITERATION_BYTES, LABEL_BYTES = 24, 31, 1


class ResourcesPlan(PairsPlan, LabellingPlan, TemplatePlan):
    """Sizes of images and of what is made of them."""

    @cached_property
    def largest(self) -> Grid:
        """Grid of the largest image, from the headers of the largest files."""
        sizes = {
            member.image: member.image.stat().st_size
            for member in self.images.values()
            if member.image.exists()
        }
        grids = []
        for path in sorted(sizes, key=lambda path: -sizes[path])[:HEADERS_READ]:
            try:
                grids.append(read_grid(path))
            except InputError:
                # a broken image is named when it is prepared
                continue
        return max(grids, key=lambda grid: grid.size, default=UNKNOWN)

    @property
    def voxels(self) -> int:
        """Voxels of the largest image."""
        return self.largest.size

    @property
    def template_voxels(self) -> float:
        """Voxels that the template will have, about."""
        wanted, found = self.study.template.spacing_mm, self.largest.spacing
        counts = np.array([n for n in self.largest.shape if n > 1])
        finer = 1.0 if wanted is None else found[np.array(self.largest.shape) > 1] / wanted
        return float(np.prod(counts * finer + ROOM))

    @property
    def disk_mb(self) -> float:
        """Disk space that the results take once all is made, and at most until then, MB."""
        images, channels = len(self.images), 1 + len(self.study.cohort.channels)
        total = 4.0 * self.voxels * images * channels
        total += LABEL_BYTES * self.voxels * sum(map(len, self.atlas_batches.values()))
        member = 2 * TRANSFORM_BYTES + WARPED_BYTES * channels + 4 * JACOBIAN_BYTES
        if self.uses_template:
            kept = TRANSFORM_BYTES + member
            total += self.template_voxels * kept * len(self.members)
            total += self.template_voxels * SUMS_BYTES * len(self.batches)
            total += self.template_voxels * ITERATION_BYTES * (1 + len(self.iterations))
        averaged = sum(len(one.keys) for one in self.subjects.values() if one.is_averaged)
        total += self.voxels * (member + TRANSFORM_BYTES) * averaged
        total += self.voxels * member * sum(map(len, self.pair_batches.values()))
        return total / 1e6
