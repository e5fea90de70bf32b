"""Tables of groups and studies that are published, with what others found in them, and one that is simulated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

__all__ = ["BCG", "EIGHT_SCHOOLS", "MetaAnalysis", "Studies", "random_effects_reml", "reaction_times"]

Array = NDArray[np.float64]

# Vaccinated with and without tuberculosis, not vaccinated with and without, absolute latitude, year.
_BCG = {
    "Aronson": (4, 119, 11, 128, 44, 1948),
    "Ferguson & Simes": (6, 300, 29, 274, 55, 1949),
    "Rosenthal et al 1960": (3, 228, 11, 209, 42, 1960),
    "Hart & Sutherland": (62, 13536, 248, 12619, 52, 1977),
    "Frimodt-Moller et al": (33, 5036, 47, 5761, 13, 1973),
    "Stein & Aronson": (180, 1361, 372, 1079, 44, 1953),
    "Vandiviere et al": (8, 2537, 10, 619, 19, 1973),
    "TPT Madras": (505, 87886, 499, 87892, 13, 1980),
    "Coetzee & Berjak": (29, 7470, 45, 7232, 27, 1968),
    "Rosenthal et al 1961": (17, 1699, 65, 1600, 42, 1961),
    "Comstock et al 1974": (186, 50448, 141, 27197, 18, 1974),
    "Comstock & Webster": (5, 2493, 3, 2338, 33, 1969),
    "Comstock et al 1976": (27, 16886, 29, 17825, 33, 1976),
}


class Studies(NamedTuple):
    """An estimate a study, its standard error, and what else is known of it."""

    names: list[str]
    estimate: Array
    error: Array
    features: pd.DataFrame


class MetaAnalysis(NamedTuple):
    """What a random effects meta-analysis finds."""

    mean: Array
    """(p + 1,) intercept and coefficients."""
    error: Array
    """(p + 1,) their standard errors."""
    tau_squared: float


def _of_bcg() -> Studies:
    """Return log relative risks of tuberculosis after BCG (Colditz et al. 1994, JAMA 271:698; metafor's dat.bcg)."""
    a, b, c, d, latitude, year = np.array(list(_BCG.values()), dtype=np.float64).T
    variance = 1.0 / a - 1.0 / (a + b) + 1.0 / c - 1.0 / (c + d)
    features = pd.DataFrame({"latitude": latitude, "year": year})
    return Studies(list(_BCG), np.log(a / (a + b)) - np.log(c / (c + d)), np.sqrt(variance), features)


BCG = _of_bcg()

EIGHT_SCHOOLS = Studies(
    [f"school {letter}" for letter in "ABCDEFGH"],
    np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
    np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
    pd.DataFrame(index=range(8)),
)
"""Effects of coaching on test scores (Rubin 1981, Journal of Educational Statistics 6:377-401)."""


def random_effects_reml(studies: Studies, features: tuple[str, ...] = ()) -> MetaAnalysis:
    """Return restricted maximum likelihood of a random effects meta-analysis, by a search over one variance."""
    y, variance = studies.estimate, studies.error**2
    design = np.column_stack([np.ones(len(y)), *(studies.features[name] for name in features)])

    def least_squares(tau_squared: float) -> tuple[Array, Array, float]:
        weight = 1.0 / (variance + tau_squared)
        precision = (design.T * weight) @ design
        mean = np.linalg.solve(precision, design.T @ (weight * y))
        deviance = np.linalg.slogdet(precision)[1] - np.log(weight).sum() + weight @ (y - design @ mean) ** 2
        return mean, np.sqrt(np.diag(np.linalg.inv(precision))), float(deviance)

    largest = 10.0 * float(np.var(y) + variance.max())
    found = optimize.minimize_scalar(
        lambda root: least_squares(root**2)[2],
        bounds=(0.0, np.sqrt(largest)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    mean, error, _ = least_squares(found.x**2)
    return MetaAnalysis(mean, error, float(found.x**2))


def reaction_times(seed: int = 0) -> pd.DataFrame:
    """Simulate reaction times (ms) of 18 people over 10 days without sleep.

    The design is that of Belenky et al. 2003 (Journal of Sleep Research 12:1-12; lme4's sleepstudy), with about its
    estimates as the truth: 251 + 10.5 a day, of people intercepts with standard deviation 25, slopes 6, noise 26.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(18), 10)
    days = np.tile(np.arange(10.0), 18)
    intercept, slope = 251.0 + 25.0 * rng.normal(size=18), 10.5 + 6.0 * rng.normal(size=18)
    time = intercept[person] + slope[person] * days + 26.0 * rng.normal(size=180)
    names = np.array([f"S{number:02d}" for number in range(1, 19)])
    return pd.DataFrame({"person": names[person], "days": days, "time": time})
