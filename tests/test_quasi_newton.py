"""The minimiser of linear registration beside SciPy's."""

import numpy as np
import pytest
import scipy

from regcore.registration.quasi_newton import minimise
from regcore.transforms.affine import matrix_exponential


def rosenbrock(place):
    return scipy.optimize.rosen(place), scipy.optimize.rosen_der(place)


@pytest.mark.parametrize("size", [2, 3, 6, 12])
def test_it_finds_the_bottom_of_a_bent_valley_as_scipy_does(size):
    start = np.random.default_rng(size).uniform(0.2, 1.8, size)
    calls = []

    def counted(place):
        calls.append(place)
        return rosenbrock(place)

    value, place = minimise(counted, start, 300, 1e-13)
    theirs = scipy.optimize.minimize(
        rosenbrock, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-9}
    )
    np.testing.assert_allclose(place, theirs.x, atol=1e-4)
    assert value < 1e-9
    assert len(calls) < 2 * theirs.nfev


def test_the_energy_never_rises_and_every_step_is_told():
    told = []
    value, _ = minimise(rosenbrock, np.array([-1.2, 1.0]), 15, note=told.append)
    assert len(told) == 15
    assert told[-1] == value
    assert (np.diff(told) < 0).all()


def test_it_ends_at_a_minimum_and_where_no_step_helps():
    assert minimise(rosenbrock, np.ones(3), 10)[0] == 0.0

    def lies(place):
        return float(np.abs(place).sum()), -np.sign(place)

    value, place = minimise(lies, np.ones(2), 10)
    assert (value, place.tolist()) == (2.0, [1.0, 1.0])


def test_it_stays_finite_where_the_energy_is_not():
    def walled(x):
        return (float(x[0] ** 2), 2 * x) if x[0] > 0.5 else (np.inf, np.full(1, np.nan))

    value, place = minimise(walled, np.array([0.8]), 20)
    assert 0.25 < value < 0.64
    assert np.isfinite(place).all()


@pytest.mark.parametrize("size", [0.0, 1e-9, 0.3, 3.0, 30.0])
def test_the_matrix_exponential_is_scipys(size):
    matrices = np.random.default_rng(0).normal(size=(5, 6, 6)) * size / 6
    expected = scipy.linalg.expm(matrices)
    found = matrix_exponential(matrices)
    assert np.abs(found - expected).max() <= 1e-11 * np.abs(expected).max()
