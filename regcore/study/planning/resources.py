"""How much memory and time jobs will take, from the headers of the largest images."""

from __future__ import annotations

from functools import cached_property

from regcore.errors import InputError
from regcore.io.nifti import read_grid
from regcore.study.planning.cohort import CohortPlan

HEADERS_READ = 5
BASE_MB = 450
BYTES_PER_VOXEL = 400
BYTES_PER_CANDIDATE_VOXEL = 24
BYTES_PER_MEMBER_VOXEL = 10
MINUTES_PER_MILLION_VOXELS = 4.0
SECONDS_PER_PERMUTATION = 1.0
CONTRASTS_EXPECTED = 4


class ResourcesPlan(CohortPlan):
    """Memory and run time of jobs; Snakemake asks again with the next attempt after a failure."""

    @cached_property
    def voxels(self) -> int:
        """Voxels of the largest image, from the headers of the largest files."""
        largest = sorted(
            (member.image for member in self.images.values()), key=lambda path: -path.stat().st_size
        )
        sizes = []
        for path in largest[:HEADERS_READ]:
            try:
                sizes.append(read_grid(path).size)
            except InputError:
                # a broken image is named when it is prepared
                continue
        return max(sizes, default=1_000_000)

    def memory_mb(self, attempt: int, candidates: int = 0) -> int:
        """Memory of a job, which fuses so many label maps; more on every retry."""
        each = BYTES_PER_VOXEL + BYTES_PER_CANDIDATE_VOXEL * candidates
        return int((BASE_MB + self.voxels * each / 1e6) * attempt)

    def statistics_mb(self, attempt: int) -> int:
        """Memory of the statistics: all members' maps twice, and what a batch of permutations takes."""
        each = BYTES_PER_VOXEL + BYTES_PER_MEMBER_VOXEL * len(self.members)
        return int((BASE_MB + self.voxels * each / 1e6) * attempt)

    def statistics_minutes(self, attempt: int) -> int:
        """Run time of the statistics of a design."""
        each = SECONDS_PER_PERMUTATION * self.study.statistics.permutations * self.voxels / 1e6
        return int((10 + CONTRASTS_EXPECTED * each / 60) * attempt)

    def minutes(self, attempt: int, registrations: int = 1) -> int:
        """Run time of a job that makes so many registrations of every member of a batch."""
        each = MINUTES_PER_MILLION_VOXELS * self.voxels / 1e6 * registrations * self.batch_size
        return int((5 + each / self.study.threads) * attempt)
