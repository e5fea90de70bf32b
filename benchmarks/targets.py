"""What the package promises of its speed and memory, figure by figure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TARGETS", "Target"]

# Written by hand, not gathered from the cases: a case that vanishes must be missed here.


@dataclass(frozen=True)
class Target:
    """A figure, what it is of, and the bound it is held against."""

    measures: str
    bound: float | None
    """None: the figure is for information."""
    unit: str = "x"
    at_least: bool = False
    """Whether the bound is a lower one."""

    def verdict(self, value: float) -> str:
        """Return "within", "MISSED", or that nothing is promised."""
        if self.bound is None:
            return "no target"
        within = value >= self.bound if self.at_least else value <= self.bound
        return "within" if within else "MISSED"


TARGETS: dict[str, Target] = {
    "fit-y-err-1e6x4": Target("fit with y_err / LinearRegression, 1,000,000 x 4", 1.0),
    "fit-y-err-scaled-1e6x4": Target("fit with y_err, scaled / LinearRegression, 1,000,000 x 4", 0.5),
    "fit-frequency-1e6x4": Target("fit with frequencies / LinearRegression, 1,000,000 x 4", 0.5),
    "fit-y-err-1e6x20": Target("fit with y_err / LinearRegression, 1,000,000 x 20", 1.0),
    "fit-y-err-scaled-1e6x20": Target("fit with y_err, scaled / LinearRegression, 1,000,000 x 20", 0.4),
    "fit-frequency-1e6x20": Target("fit with frequencies / LinearRegression, 1,000,000 x 20", 0.4),
    "fit-y-err-2000x10": Target("fit with y_err / LinearRegression, 2,000 x 10", 2.5),
    "fit-y-err-scaled-2000x10": Target("fit with y_err, scaled / LinearRegression, 2,000 x 10", 2.5),
    "fit-frequency-2000x10": Target("fit with frequencies / LinearRegression, 2,000 x 10", 2.5),
    "fit-counts-1e6x4": Target("fit with counts, fitted errors / LinearRegression, 1,000,000 x 4", 1.6),
    "streaming": Target("partial_fit / a fit of each batch, summed, 100 x 100,000 x 10", 1.2),
    "streaming-y-err": Target(
        "partial_fit with y_err / a fit of each batch, summed, 100 x 100,000 x 10", 1.2
    ),
    "streaming-distributed": Target(
        "distributed.fit over batches, y_err / a fit of each batch, summed, 100 x 100,000 x 10", 1.2
    ),
    "memory-streaming": Target("peak memory over that before, partial_fit, 100 x 100,000 x 10", 300.0, "MB"),
    "streaming-batches-of-1": Target("partial_fit / SGDRegressor.partial_fit, batches of 1 x 10", None),
    "streaming-batches-of-100": Target("partial_fit / SGDRegressor.partial_fit, batches of 100 x 10", None),
    "streaming-batches-of-1000": Target(
        "partial_fit / SGDRegressor.partial_fit, batches of 1,000 x 10", None
    ),
    "scaling-rows": Target("power of n with which a fit's time grows, up to 10,000,000 x 10", None, "power"),
    "scaling-columns": Target("power of p with which a fit's time grows, up to 20,000 x 500", None, "power"),
    "search": Target("GridSearchCV of 300 fits / Ridge's, 2,000 x 10", 2.5),
    "search-loo": Target("60 priors by exact leave-one-out / Ridge's 300 fits, 2,000 x 10", 1.0),
    "search-evidence": Target("60 priors by marginal likelihood / Ridge's 300 fits, 2,000 x 10", 1.0),
    "predict-std": Target("predict with std / LinearRegression.predict, 1,000,000 x 4", 4.0),
    "intervals": Target("100,000 intervals", 0.3, "s"),
    "memory-fit-y-err": Target("extra memory of a fit with y_err, columns of n", 4.0, "columns"),
    "memory-fit-frequency": Target("extra memory of a fit with frequencies, columns of n", 4.0, "columns"),
    "memory-fit-counts": Target("extra memory of a fit with counts, columns of n", 4.0, "columns"),
    "memory-predict-std": Target("extra memory of predict with std, columns of n", 4.0, "columns"),
    "import": Target("import bayes_sklearn / import sklearn.linear_model", 1.3),
    "pymc-200": Target("PyMC / exact fit and 16,000 draws, 200 rows", 1000.0, at_least=True),
    "nutpie-200": Target("nutpie / exact fit and 16,000 draws, 200 rows", None),
    "pymc-20000": Target("PyMC / exact fit and 16,000 draws, 20,000 rows", 1000.0, at_least=True),
    "nutpie-20000": Target("nutpie / exact fit and 16,000 draws, 20,000 rows", None),
    "nuts-first": Target("first NUTS fit, compilation included / plain PyMC, 2,000 x 4", None),
    "nuts-refit-200": Target("NUTS refit, 200 x 4", 0.5, "s"),
    "nuts-refit-20000": Target("NUTS refit, 20,000 x 4", 0.5, "s"),
    "nuts-refit-1e6": Target("NUTS refit, 1,000,000 x 4", 0.5, "s"),
    "nuts-refit-additive-200": Target("NUTS refit, additive noise, 200 x 4", 0.5, "s"),
    "nuts-refit-additive-20000": Target("NUTS refit, additive noise, 20,000 x 4", 0.5, "s"),
    "nuts-refit-additive-1e6": Target("NUTS refit, additive noise, 1,000,000 x 4", 0.5, "s"),
    "nuts-refit-horseshoe": Target("NUTS refit, Horseshoe, 2,000 x 10", 0.5, "s"),
    "horseshoe-first-10": Target("first fit, Horseshoe, 500 x 10", 1.5, "s"),
    "horseshoe-first-20": Target("first fit, Horseshoe, 500 x 20", 3.0, "s"),
    "search-priors": Target(
        "GridSearchCV over Normal, Laplace, StudentT, Horseshoe, five folds, n_jobs=2, 500 x 10", 20.0, "s"
    ),
    "nuts-refit-errors-in-x-1000": Target(
        "NUTS refit, one of four features with one error for all, 1,000 rows", 0.5, "s"
    ),
    "nuts-refit-errors-in-x-20000": Target(
        "NUTS refit, one of four features with one error for all, 20,000 rows", 0.5, "s"
    ),
    "nuts-search": Target("100 fits by plain PyMC / a search of 100 by NUTS, 2,000 x 4", 10.0, at_least=True),
    "sparse-first": Target("first fit of a process, Laplace prior, 200 x 10", 0.15, "s"),
    "sparse-search": Target("first search over kinds of priors, 5 folds, 2 workers, 500 x 10", 3.0, "s"),
    "errors-in-x-50": Target("fit, one feature with errors by row, 50 rows", 0.05, "s"),
    "errors-in-x-1000": Target("fit, one feature with errors by row, 1,000 rows", 0.15, "s"),
    "errors-in-x-20000": Target("fit, one feature with errors by row, 20,000 rows", 0.5, "s"),
    "errors-in-x-1e6": Target("fit, one feature with errors by row, 1,000,000 rows", 8.0, "s"),
    "errors-in-x-mixture-1000": Target(
        "fit, one feature with errors by row, a mixture of two, 1,000 rows", 0.5, "s"
    ),
    "errors-in-x-common-20000": Target("fit, one feature with one error for all, 20,000 rows", 0.1, "s"),
    "errors-in-x-q3-1000": Target("fit, three features with errors by row, two exact, 1,000 rows", 2.0, "s"),
    "errors-in-x-latent-1000": Target(
        "PyMC with latent true features / fit, errors by row, 1,000 rows", 50.0, at_least=True
    ),
    "errors-in-x-binomial-500": Target(
        "fit, binomial, one of two features with errors by row, 500 rows", 0.25, "s"
    ),
    "errors-in-x-binomial-5000": Target(
        "fit, binomial, one of two features with errors by row, 5,000 rows", 1.6, "s"
    ),
    "errors-in-x-binomial-20000": Target(
        "fit, binomial, one of two features with errors by row, 20,000 rows", 5.0, "s"
    ),
    "errors-in-x-beta-binomial-1000": Target(
        "fit, beta-binomial, one of two features with errors by row, 1,000 rows", 1.3, "s"
    ),
    "errors-in-x-student-t-1000": Target(
        "fit, Student's t, one of two features with errors by row, 1,000 rows", 1.3, "s"
    ),
    "errors-in-x-nuts-binomial-1000": Target(
        "NUTS refit, binomial, one feature with errors by row, 1,000 rows", 5.0, "s"
    ),
    "errors-in-x-nuts-student-t-1000": Target(
        "NUTS refit, Student's t, one feature with errors by row, 1,000 rows", 5.0, "s"
    ),
    "intervals-student-t": Target("100,000 intervals, student_t", 1.0, "s"),
    "intervals-binomial": Target("100,000 intervals, binomial", 1.0, "s"),
    "intervals-beta-binomial": Target("100,000 intervals, beta_binomial", 1.0, "s"),
    "intervals-poisson": Target("100,000 intervals, poisson", 1.0, "s"),
    "intervals-negative-binomial": Target("100,000 intervals, negative_binomial", 1.0, "s"),
    "predict-of-one-row": Target("a prediction of one row", 0.0003, "s"),
    "interval-of-one-row": Target("an interval of one row", 0.0003, "s"),
    "score-of-one-row": Target("CRPS of one row", 0.0003, "s"),
    "interval-of-one-row-laplace": Target("an interval of one row, sampled prior", 0.0003, "s"),
    "interval-of-one-row-binomial": Target("an interval of one row, binomial", 0.0003, "s"),
    "interval-of-one-row-student-t": Target("an interval of one row, Student's t", 0.0003, "s"),
    "noisy-intervals-100000": Target("100,000 intervals beside an error in X", 1.0, "s"),
    "noisy-intervals-binomial": Target("1,000 noisy rows with intervals, binomial", 1.0, "s"),
    "noisy-intervals-beta-binomial": Target("1,000 noisy rows with intervals, beta-binomial", 1.0, "s"),
    "noisy-intervals-student-t": Target("1,000 noisy rows with intervals, Student's t", 1.0, "s"),
    "y-cov-2000": Target("fit with y_cov, scaled / statsmodels GLS, 2,000 x 5", 1.0),
    "y-cov-scatter-2000": Target("fit with y_cov and scatter / statsmodels GLS, 2,000 x 5", 10.0),
    "y-shared-err-100000": Target("fit with 5 shared errors / without, y_err, 100,000 x 5", 3.0),
    "inverse-1000": Target("inverse_predict of 1,000 readings, 100 standards", 0.3, "s"),
    "groups-100000": Target("fit of 1,000 groups, 100,000 x 10", 0.15, "s"),
    "groups-100000-slopes": Target("fit of 1,000 groups with slopes, 100,000 x 10", 0.75, "s"),
    "groups-1000000": Target("fit of 10,000 groups, 1,000,000 x 10", 0.6, "s"),
    "groups-1000000-slopes": Target("fit of 10,000 groups with slopes, 1,000,000 x 10", 3.0, "s"),
    "star98-binomial": Target("fit, binomial, star98, 303 x 20", 0.3, "s"),
    "star98-beta-binomial": Target("fit, beta-binomial, star98, 303 x 20", None, "s"),
    "missing-features": Target("fit, 27% of the cells of X missing, 200 x 3", 0.3, "s"),
    "limits-1000": Target("fit, 28% of targets below a limit, 1,000 x 5", 0.15, "s"),
    "limits-100000": Target("fit, 28% of targets below a limit, 100,000 x 5", 3.0, "s"),
    "events-poisson": Target("fit, Poisson, 20,000 x 10", 1.0, "s"),
    "events-negative-binomial": Target("fit, negative binomial, 20,000 x 10", 1.0, "s"),
    "star98-sampled": Target("PyMC / fit, binomial, star98, 303 x 20", None),
}
