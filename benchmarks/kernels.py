"""How fast each pass of a deformable iteration is, beside what the memory allows.

Run as ``python -m benchmarks.kernels``.

A pass must at least read its inputs and write its outputs once. `BYTES` counts that, with the read that a
processor does of what it is about to overwrite; what the memory of this machine moves in the same time, by
NumPy's own copy on as many threads, is the bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from regcore.kernels.compose import compose, longest_vector
from regcore.kernels.invert import invert
from regcore.kernels.jacobian import jacobian_determinant
from regcore.kernels.layout import components, empty_field, from_components
from regcore.kernels.parallel import available_threads, set_threads
from regcore.kernels.sample import sample_force, sample_linear
from regcore.kernels.smooth import gaussian_smooth
from regcore.metrics import lncc
from regcore.registration.deformable import Buffers

WORD = 4
# words read, and words written, which cost two unless they were read before; a field is three of either
BYTES = {
    "sample": WORD * (3 + 1 + 2 * 1),
    "local correlation": WORD * (2 + 2 + 2 * 3 + 3 + 2 + 1),
    "force": WORD * (3 + 1 + 1 + 2 * 3),
    "smooth force, 1.4 voxels": WORD * (3 + 2 * 3),
    "longest vector": WORD * 3,
    "compose": WORD * (3 + 3 + 3),
    "smooth field, 0.5 voxels": WORD * (3 + 2 * 3),
}


def passes(shape: tuple[int, int, int]) -> dict[str, Callable[[], object]]:
    """The passes of an iteration, in order, on made images of a shape, and some that follow the last one."""
    rng = np.random.default_rng(0)
    image = gaussian_smooth(rng.random(shape, np.float32), 2.0)
    noise = from_components(rng.standard_normal((3, *shape), np.float32))
    field = from_components(40 * components(gaussian_smooth(noise, 5.0)))
    buffers = Buffers.of(shape, 1)
    warped, step, out = buffers.warped, empty_field(shape), empty_field(shape)
    components(step)[:] = components(field) / np.float32(longest_vector(field))
    # the gradient goes where the image was, and is an image as good as any the next time
    arrays = image, warped, None, 2, warped, components(buffers.extra), lncc.prepare(image)
    return {
        "sample": lambda: sample_linear(image, np.eye(4), field, out=warped),
        "local correlation": lambda: lncc.value_and_gradient(*arrays),
        "force": lambda: sample_force(image, np.eye(4), field, warped, out=buffers.force),
        "smooth force, 1.4 voxels": lambda: buffers.smoothed_force(1.4),
        "longest vector": lambda: longest_vector(step),
        "compose": lambda: compose(field, step, 0.01, out=step),
        "smooth field, 0.5 voxels": lambda: gaussian_smooth(field, 0.5, out=out),
        "invert (once)": lambda: invert(field),
        "Jacobian determinant (once)": lambda: jacobian_determinant(field),
    }


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after one that is not counted."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def bytes_per_second(size: int, threads: int, repeats: int) -> float:
    """What the memory moves when every thread copies an array: read, read before writing, written."""
    sources = [np.ones(size, np.float32) for _ in range(threads)]
    targets = [np.empty(size, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        taken = seconds(lambda: list(pool.map(np.copyto, targets, sources)), repeats)
    return 3 * WORD * size * threads / taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(160, 192, 144))
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    set_threads(options.threads)
    voxels = int(np.prod(options.shape))
    bandwidth = bytes_per_second(voxels, options.threads, options.repeats)
    print(f"{options.threads} threads, {voxels / 1e6:.1f} million voxels, memory {bandwidth / 1e9:.1f} GB/s")
    print("\n| pass | bytes a voxel | bound (ns a voxel) | measured (ns a voxel) | share of the bound |")
    print("| --- | --- | --- | --- | --- |")
    total_bound = total = 0.0
    for name, work in passes(tuple(options.shape)).items():
        measured = seconds(work, options.repeats) / voxels * 1e9
        if name not in BYTES:
            print(f"| {name} | | | {measured:.1f} | |")
            continue
        bound = BYTES[name] / bandwidth * 1e9
        total_bound, total = total_bound + bound, total + measured
        print(f"| {name} | {BYTES[name]} | {bound:.2f} | {measured:.2f} | {bound / measured:.0%} |")
    amount = sum(BYTES.values())
    print(f"| an iteration | {amount} | {total_bound:.2f} | {total:.2f} | {total_bound / total:.0%} |")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
