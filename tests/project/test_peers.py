"""The benchmark beside peers runs, tells the truth of what it measured, and none of its pairs can vanish unseen."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scoringrules
from scipy import stats

# The benchmarks are part of the checkout, not of the package.
sys.path.append(str(Path(__file__).parents[2]))
from benchmarks.peers import __main__ as command
from benchmarks.peers import latent, pictures, probe, records, reference, tables
from benchmarks.peers.fits import Drawn, Fit, Gaussian, Point, StudentT
from benchmarks.peers.records import Record
from benchmarks.peers.registry import PEERS, Peer
from benchmarks.peers.tasks import TASKS, Task, load, save

pytestmark = pytest.mark.thorough

DOCUMENTED = Path(__file__).parents[2] / "docs" / "benchmarks" / "peers"
# The complete list: a peer that is taken out of the registry fails here.
NAMES = {
    "bayes_sklearn", "bayes_sklearn, binomial", "bayes_sklearn, beta-binomial",
    "LinearRegression", "Ridge", "BayesianRidge", "ARDRegression", "GaussianProcessRegressor",
    "statsmodels WLS", "statsmodels GLM",
    "PyMC", "nutpie", "Bambi", "numpyro",
    "odrpack", "BCES", "PyMC, latent x",
}  # fmt: skip
OPTIONAL = {"Bambi", "numpyro", "odrpack", "BCES"}
QUICK = sorted(name for name in NAMES if not PEERS[name].samples)
SMALL = {
    "shares": replace(TASKS["phones"], rows=60, test_rows=200),
    "targets": replace(TASKS["targets with scatter"], rows=60, columns=2, test_rows=200),
    "features": replace(TASKS["errors in x, reliability 0.7"], rows=400, test_rows=200, repeats=3),
}


def fitted(name: str, task: Task) -> dict[str, Any]:
    """Return what the probe measures of a peer in this process, or skip it where it is not installed."""
    peer = PEERS[name]
    if peer.missing():
        assert name in OPTIONAL, "what the tests install is there"
        pytest.skip(f"{', '.join(peer.missing())} not installed: an extra, 'benchmarks'")
    return probe.measure(peer, task, 100.0, [task.data_set(seed) for seed in range(max(2, task.repeats))])


def test_the_registry_has_every_peer() -> None:
    assert set(PEERS) == NAMES == set(pictures._LOOKS)


def test_every_kind_of_task_is_there_with_its_sizes() -> None:
    kinds = {kind: [task for task in TASKS.values() if task.kind == kind] for kind in SMALL}
    assert [task.name for task in kinds["shares"]] == ["star98", "phones"]
    assert {task.rows for task in kinds["targets"]} == {100, 1_000, 10_000, 100_000}
    assert {task.columns for task in kinds["targets"]} == {2, 10, 50}
    assert {task.noise for task in kinds["targets"]} == {"scaled", "additive"}
    assert {task.reliability for task in kinds["features"]} == {0.5, 0.7, 0.95}
    assert {task.columns for task in kinds["features"]} == {1, 2}
    assert all(task.test_rows > 0.0 for task in TASKS.values())


@pytest.mark.filterwarnings("ignore")  # of peers
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("name", QUICK)
def test_an_adapter_fits_a_small_table(name: str, kind: str) -> None:
    task = SMALL[kind]
    if PEERS[name].why_not(task):
        assert kind in PEERS[name].cannot
        return
    found = fitted(name, task)
    assert found["cold"] > 0.0
    assert found["warm"] > 0.0
    # Better than a guess of the mean, which is off by the target's spread; and no better than the noise allows.
    test = task.data_set(0).test
    assert found["rmse_truth"] < test.truth.std()
    assert found["rmse"] > 0.5 * np.std(test.y - test.truth)
    if found["coverage"] is not None:
        assert len(found["deciles"]) == 10
        assert found["coverage"] == pytest.approx(np.mean(found["deciles"]))
        assert 0.0 < found["crps"] < test.y.std()
    assert (found["coverage"] is None) == (found["crps"] is None)
    if found["slopes"][0] is not None:
        assert len(found["slopes"]) == len(found["limits"]) == max(2, task.repeats if task.repeats > 1 else 2)
        assert np.shape(found["slopes"][0]) == (task.columns,)


def test_predictions_with_errors_cover_what_they_say() -> None:
    for kind in SMALL:
        found = fitted("bayes_sklearn", replace(SMALL[kind], rows=300, test_rows=1000, repeats=1))
        # 1,000 rows: three standard errors are 0.03, and the fit's own error comes on top.
        assert found["coverage"] == pytest.approx(0.9, abs=0.05), kind
        assert found["effective"] > 500.0
        assert found["effective_seconds"] > 0.0


def test_every_peer_gets_the_same_rows_to_the_bit_and_no_answers(tmp_path: Path) -> None:
    for task in SMALL.values():
        first, again = task.data_set(3), task.data_set(3)
        save(first, tmp_path / "kept.npz")
        kept = load(tmp_path / "kept.npz")
        for other in (again, kept):
            np.testing.assert_array_equal(other.slopes, first.slopes)
            for part in ("train", "test"):
                for name in ("X", "y", "truth", "y_err", "counts", "X_err"):
                    mine, its = (getattr(getattr(one, part), name) for one in (first, other))
                    np.testing.assert_array_equal(mine, its)
        unseen = first.test.unseen()
        assert np.isnan(unseen.y).all()
        assert np.isnan(unseen.truth).all()
        assert not np.array_equal(first.train.y, task.data_set(4).train.y)


def test_the_tables_are_what_they_say() -> None:
    for task in TASKS.values():
        data = replace(task, rows=min(task.rows, 1000)).data_set(0)
        assert data.train.X.shape[1] == task.columns
        assert len(data.test.y) == task.test_rows
        if task.kind == "shares":
            successes = data.train.y * data.train.counts
            np.testing.assert_allclose(successes, np.rint(successes), atol=1e-9)
    scaled, additive = (TASKS[name].data_set(0).test for name in ("targets n=1000", "targets with scatter"))
    for rows, deviation in ((scaled, 1.5 * scaled.y_err), (additive, np.hypot(0.5, additive.y_err))):
        # A chi-squared variable of 2,000 degrees of freedom, over them: four standard deviations.
        assert np.mean(((rows.y - rows.truth) / deviation) ** 2) == pytest.approx(
            1.0, abs=4 * np.sqrt(2 / 2000)
        )
    for reliability in (0.5, 0.7, 0.95):
        task = replace(TASKS[f"errors in x, reliability {reliability}"], rows=100_000)
        train = task.data_set(0).train
        assert 1.0 - np.mean(train.X_err**2) / train.X.var() == pytest.approx(reliability, abs=0.01)


def test_scores_are_those_of_another_library() -> None:
    rng = np.random.default_rng(0)
    mean, std, y = rng.normal(size=50), rng.uniform(0.5, 2.0, 50), rng.normal(size=50)
    np.testing.assert_allclose(Gaussian(mean, std).crps(y), scoringrules.crps_normal(y, mean, std))
    draws = rng.normal(size=(40, 50))
    fair = scoringrules.crps_ensemble(y, draws.T, estimator="fair")
    np.testing.assert_allclose(Drawn(mean, draws).crps(y), fair)
    np.testing.assert_allclose(Gaussian(mean, std).interval()[:, 1], stats.norm.ppf(0.95, mean, std))
    np.testing.assert_allclose(StudentT(mean, std, 5.0).interval()[:, 0], stats.t.ppf(0.05, 5.0, mean, std))
    assert Point(mean).crps(y) is None
    assert Point(mean).interval() is None


def test_coverage_by_tenths_begins_with_the_least_noise() -> None:
    task = SMALL["targets"]
    test = task.data_set(0).test
    # Intervals of the same width everywhere: too wide for the least noise, too narrow for the most.
    fit = Fit(predict=lambda rows: Gaussian(test.truth, np.full(len(test.y), 1.0)))
    deciles = probe.scores(fit, test, task)["deciles"]
    assert deciles[0] > 0.97 > 0.85 > deciles[-1]
    none = probe.scores(Fit(predict=lambda rows: Point(test.truth)), test, task)
    assert none["coverage"] is none["crps"] is none["deciles"] is None
    assert none["rmse_truth"] == 0.0


@pytest.mark.filterwarnings("ignore")  # of peers
@pytest.mark.parametrize("name", ["PyMC", "nutpie", "Bambi", "numpyro"])
def test_samplers_agree_with_the_package_on_the_reference_model(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "DRAWS", 500)
    monkeypatch.setattr(reference, "TUNE", 500)
    task = replace(SMALL["targets"], noise="scaled", rows=200)
    found, own = fitted(name, task), fitted("bayes_sklearn", task)
    assert found["doubts"] == ""
    assert found["effective"] > 500.0
    np.testing.assert_allclose(found["slopes"][0], own["slopes"][0], atol=0.05)
    np.testing.assert_allclose(found["limits"][0], own["limits"][0], atol=0.1)
    # The mean is the line's: that of 1,000 draws with their noise would be off by 0.04 on top.
    assert found["rmse_truth"] == pytest.approx(own["rmse_truth"], abs=0.015)
    assert found["coverage"] == pytest.approx(own["coverage"], abs=0.05)


def test_bces_is_the_formula_of_moments_and_orthogonal_distance_the_line_of_deming() -> None:
    task = replace(SMALL["features"], repeats=1)
    train = task.data_set(0).train
    x, y = train.X[:, 0], train.y
    (xx, xy), (_, yy) = np.cov(x, y, bias=True)
    found = fitted("BCES", task)
    assert found["slopes"][0][0] == pytest.approx(xy / (xx - np.mean(train.X_err**2)))

    class Even(Task):
        """The same rows, said to be as noisy as each other."""

        def data_set(self, seed: int) -> Any:
            data = super().data_set(seed)
            even = {"X_err": np.full_like(data.train.X_err, 0.6), "y_err": np.full_like(y, 0.3)}
            return replace(data, train=replace(data.train, **even))

    ratio = (0.3 / 0.6) ** 2
    away = yy - ratio * xx
    deming = (away + np.sqrt(away**2 + 4.0 * ratio * xy**2)) / (2.0 * xy)
    found = fitted("odrpack", Even(**vars(task)))
    assert found["slopes"][0][0] == pytest.approx(deming, rel=1e-4)  # it stops where the sum of squares does


@pytest.mark.filterwarnings("ignore")  # of peers
def test_true_features_as_unknowns_give_the_package_s_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent, "DRAWS", 500)
    monkeypatch.setattr(latent, "TUNE", 500)
    task = replace(SMALL["features"], repeats=1, rows=80, columns=2)
    found, own = fitted("PyMC, latent x", task), fitted("bayes_sklearn", task)
    np.testing.assert_allclose(found["slopes"][0], own["slopes"][0], atol=0.15)
    assert found["rmse_truth"] == pytest.approx(own["rmse_truth"], rel=0.1)


def _found(**changes: Any) -> dict[str, Any]:
    of_scores = {"rmse": 1.0, "rmse_truth": 0.5, "crps": 0.4, "coverage": 0.9, "deciles": [0.9] * 10}
    of_slopes = {"slopes": [[1.25], [0.75], [1.5]], "limits": [[[1.1, 1.4]], [[0.5, 1.1]], [[0.9, 2.0]]]}
    of_draws = {"effective": 1000.0, "effective_seconds": 0.5}
    cost = {"cold": 2.0, "warm": 0.01, "memory": 3e6, "doubts": ""}
    return {**of_scores, **of_slopes, **of_draws, **cost, **changes}


def test_a_record_tells_what_the_probe_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def probe_of(*arguments: Any, limit: float) -> dict[str, Any]:
        asked.append((*arguments[:4], len(arguments[4:]), limit))
        return _found()

    monkeypatch.setattr(records, "run_probe", probe_of)
    (record,) = records.run([SMALL["features"]], [PEERS["bayes_sklearn"]], 10.0)
    assert asked == [("peers.probe", "bayes_sklearn", SMALL["features"].name, 10.0, 3, 15.0)]
    assert (record.status, record.cold, record.warm, record.memory) == ("ok", 2.0, 0.01, 3.0)
    assert record.effective_per_second == 2000.0
    assert record.bias == pytest.approx(1.0 / 6.0)
    assert record.bias_error == pytest.approx(np.std([1.25, 0.75, 1.5], ddof=1) / np.sqrt(3.0))
    assert record.slope_coverage == pytest.approx(2.0 / 3.0)
    assert record.data_sets == 3


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (TimeoutError("stopped"), "stopped after 15 s"),
        (RuntimeError("Traceback\nValueError: no"), "failed: ValueError: no"),
    ],
)
def test_what_goes_wrong_is_a_result(raised: Exception, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe_of(*arguments: Any, **_: Any) -> dict[str, Any]:
        raise raised

    monkeypatch.setattr(records, "run_probe", probe_of)
    larger = replace(TASKS["targets n=1000"], rows=70)
    found = list(records.run([TASKS["targets n=100"], larger], [PEERS["Ridge"]], 10.0))
    assert found[0].status == status
    assert not found[0].measured
    later = "not tried: stopped at 100 rows" if isinstance(raised, TimeoutError) else status
    assert found[1].status == later


def test_what_a_peer_cannot_do_or_is_not_installed_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "run_probe", lambda *arguments, **_: _found(doubts="R-hat 1.20"))
    gone = Peer("gone", "no:where", ("no_such_package",))
    features = replace(SMALL["features"], columns=2)
    found = list(records.run([features], [gone, PEERS["BCES"], PEERS["Ridge"], PEERS["bayes_sklearn"]], 1.0))
    assert [record.status for record in found] == [
        "not installed: no_such_package",
        "cannot: takes a single feature",
        "cannot: takes no errors of x",
        "doubtful: R-hat 1.20",
    ]


def _complete(status: str = "ok") -> list[Record]:
    """Return a record of every pair, as a complete run makes them."""
    figures = {"cold": 2.0, "warm": 0.0123456, "memory": 3.0, "rmse": 1.0, "rmse_truth": 0.5, "crps": 0.25}
    return [
        Record(task, peer, status, **figures, coverage=0.9, deciles=(0.9,) * 10, bias=0.01, bias_error=0.02)
        for task, peer in records.pairs()
    ]


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    kept = [*_complete()[:3], Record("phones", "PyMC", "stopped after 15 s")]
    records.write(kept, tmp_path / "records.csv")
    again = records.read(tmp_path / "records.csv")
    assert again[0] == replace(kept[0], warm=0.0123)
    assert again[-1] == kept[-1]


def test_a_run_writes_tables_and_pictures_that_stay_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run", lambda *_: iter(_complete()))
    for folder in ("first", "second"):
        assert command.main(["--output", str(tmp_path / folder)]) == 0
    assert command.main(["--redraw", "--output", str(tmp_path / "second")]) == 0
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / f).iterdir()} for f in ("first", "second")
    )
    assert first == second
    assert set(first) == {path.name for path in DOCUMENTED.iterdir()}
    assert set(pictures.PICTURES) <= set(first)
    assert len(capsys.readouterr().out.splitlines()) == 2 * (1 + len(TASKS) * len(PEERS))


@pytest.mark.parametrize(
    ("status", "arguments", "code"),
    [
        ("failed: no", [], 1),
        ("not installed: bambi", [], 0),
        ("not installed: bambi", ["--strict"], 1),
        ("stopped after 15 s", ["--strict"], 0),
    ],
)
def test_a_peer_that_fails_or_is_missing_is_an_error_where_asked(
    status: str, arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "run", lambda *_: iter([Record("phones", "Bambi", status)]))
    assert command.main([*arguments, "--output", str(tmp_path)]) == code


def test_a_name_that_is_no_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--peer", "PyMX"])
    assert "PyMX" in capsys.readouterr().err


def test_the_documented_records_are_of_all_pairs_and_of_no_other() -> None:
    kept = records.read(DOCUMENTED / tables.RECORDS)
    assert [(record.task, record.peer) for record in kept] == records.pairs()
    assert not [record for record in kept if record.status.startswith(("failed", "not installed"))]
    for record in kept:
        task, peer = TASKS[record.task], PEERS[record.peer]
        reason = peer.why_not(task)
        assert record.status == f"cannot: {reason}" if reason else not record.status.startswith("cannot")


def test_the_documented_tables_are_made_of_the_records(tmp_path: Path) -> None:
    tables.write_tables(records.read(DOCUMENTED / tables.RECORDS), tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(written) == 5
    assert written == {name: (DOCUMENTED / name).read_text() for name in written}
    with (tmp_path / "shares.csv").open(encoding="utf-8") as file:
        told = {(row["task"], row["peer"]) for row in csv.DictReader(file)}
    assert told == {
        (task, peer)
        for task in ("star98", "phones")
        for peer in PEERS
        if not PEERS[peer].why_not(TASKS[task])
    }
