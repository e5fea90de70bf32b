"""California's star98 table: shares of pupils above the national median, of 33 to 38,852 pupils.

Its author lets statsmodels distribute the table and keeps all rights, so it is not shipped here but
read from an installed statsmodels.
"""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


def load_star98() -> "tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.int64]]":
    """Return star98's features, shares and counts, or skip the test where statsmodels is missing.

    Returns
    -------
    X : DataFrame of shape (303, 20)
        Twelve features of a school district (percentages, years, thousands of dollars) and eight
        of their products: unscaled, close to collinear, and without a column of ones.
    share : ndarray of shape (303,)
        Share of the district's pupils above the national median in mathematics, 0.08 to 0.93.
    counts : ndarray of shape (303,)
        Number of pupils tested.
    """
    star98 = pytest.importorskip("statsmodels.datasets.star98")
    table = star98.load_pandas()
    above = table.endog["NABOVE"].to_numpy(dtype=np.int64)
    counts = above + table.endog["NBELOW"].to_numpy(dtype=np.int64)
    return table.exog, above / counts, counts
