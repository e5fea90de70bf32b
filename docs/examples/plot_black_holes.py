"""
A power law with errors in both, and upper limits
=================================================

The heavier the black hole in the middle of a galaxy, the faster the stars around it move: its mass goes as a power of
the velocity dispersion, which is a line in logarithms. Both are measured, and some black holes are known only to be
lighter than some mass. Leaving those out would keep the heavy ones among the light galaxies, and flatten the line.

The galaxies are those whose black holes were weighed by the motion of stars, in the compilation of van den Bosch
(2016, The Astrophysical Journal 831:134): name, dispersion in km/s and its standard error, and the decimal logarithm
of the mass in suns and its standard error, or an upper limit.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.preprocessing import MeasuredFunction

table = """
Henize2-10 34.9 15 <7.00; IC1459 340 17 9.39 0.08; Mrk1216 308 7.1 <10.00; NGC0205 38.5 6 <4.34;
NGC0221 74.9 3 6.39 0.19; NGC0307 204 4.7 8.60 0.06; NGC0428 32 5.4 <4.85; NGC0524 235 12 8.94 0.05;
NGC0598 18.1 8.2 <3.15; NGC0821 209 10 8.22 0.21; NGC1023 167 8.1 7.62 0.06; NGC1042 44 6.9 <6.48;
NGC1271 282 6.5 9.53 0.06; NGC1277 317 7.3 9.67 0.15; NGC1316 226 11 8.18 0.25; NGC1374 203 11 8.76 0.06;
NGC1398 234 5.4 8.03 0.08; NGC1399 337 17 8.94 0.31; NGC1407 283 14 9.65 0.08; NGC1428 81.9 4 <7.00;
NGC1493 35.2 5.7 <5.90; NGC1550 302 15 9.57 0.07; NGC1600 292 14 10.23 0.04; NGC2549 142 6.9 7.16 0.37;
NGC2778 132 6.4 <7.46; NGC2974 226 11 8.23 0.09; NGC3091 307 15 9.56 0.07; NGC3115 230 11 8.95 0.09;
NGC3227 132 12 7.32 0.23; NGC3368 121 26 6.88 0.08; NGC3377 128 6.3 8.25 0.25; NGC3379 186 9.1 8.62 0.11;
NGC3384 138 6.7 7.03 0.21; NGC3414 189 9.2 8.40 0.07; NGC3423 41.7 7 <5.85; NGC3489 101 4.9 6.78 0.05;
NGC3585 213 10 8.52 0.13; NGC3607 207 10 8.14 0.16; NGC3608 169 8.3 8.67 0.10; NGC3621 62 4.3 <6.48;
NGC3627 122 2.8 6.93 0.05; NGC3706 325 7.5 9.77 0.06; NGC3842 275 14 9.96 0.14; NGC3923 222 10 9.45 0.12;
NGC3945 177 8.7 <7.41; NGC3998 224 11 8.93 0.05; NGC4026 157 7.6 8.26 0.12; NGC4151 95.5 2.5 7.81 0.08;
NGC4291 242 12 8.99 0.16; NGC4342 242 12 8.66 0.19; NGC4350 175 8.5 8.58 0.41; NGC4371 144 7 6.84 0.07;
NGC4382 179 8.7 <8.35; NGC4435 153 7.5 <6.30; NGC4472 250 12 9.40 0.04; NGC4473 187 9.1 7.95 0.24;
NGC4486A 123 6 7.10 0.15; NGC4486B 169 8 8.60 0.02; NGC4501 157 3.6 7.30 0.08; NGC4552 224 11 8.70 0.05;
NGC4564 155 7.5 7.95 0.12; NGC4594 240 13 8.82 0.05; NGC4621 198 9.7 8.60 0.09; NGC4649 268 13 9.67 0.10;
NGC4697 169 8.3 8.31 0.11; NGC4742 89.9 5 7.10 0.15; NGC4751 355 18 9.15 0.06; NGC4889 360 18 10.32 0.44;
NGC5128 150 7 7.76 0.08; NGC5328 333 17 9.67 0.16; NGC5419 367 9.3 9.86 0.14; NGC5457 22.2 8.8 <6.49;
NGC5516 305 26 9.52 0.06; NGC5576 155 7.6 8.44 0.13; NGC5813 211 10 8.85 0.06; NGC5845 228 11 8.69 0.16;
NGC5846 223 11 9.04 0.06; NGC6086 318 16 9.57 0.17; NGC6240(S) 276 43 9.17 0.21; NGC6503 55.4 2.8 <6.41;
NGC6861 389 19 9.30 0.08; NGC7332 125 6.1 7.08 0.18; NGC7418 46.8 6.9 <6.95; NGC7424 21.7 2.7 <5.60;
NGC7457 74.6 3.6 6.95 0.30; NGC7619 324 17 9.40 0.11; NGC7768 265 13 9.13 0.18
"""

galaxies = []
for row in table.replace("\n", " ").split(";"):
    name, dispersion, error, mass, *mass_err = row.split()
    limit = mass.startswith("<")
    galaxies.append(
        (name, float(dispersion), float(error), float(mass.strip("<")), *map(float, mass_err or [0.0]), limit)
    )
columns = ["name", "dispersion", "dispersion_err", "mass", "mass_err", "limit"]
galaxies = pd.DataFrame(galaxies, columns=columns).set_index("name")
# A logarithm bends within errors of a fifth of the value: the transformer would warn of these four.
galaxies = galaxies[galaxies["dispersion_err"] < 0.2 * galaxies["dispersion"]]
galaxies.head(3)

# %%
# The transformer takes logarithms of dispersions and carries their errors along; masses are logarithms already. The
# scatter of black holes about the line is asked for by ``noise="additive"``: errors are right, and galaxies differ
# besides. A limit here is one of the true mass, so that its ``y_err`` is 0.

X = galaxies[["dispersion", "dispersion_err"]]
logs = MeasuredFunction("log10", error_columns="_err").set_output(transform="pandas")
law = make_pipeline(
    logs, BayesianErrorsInVariablesRegressor(error_columns="_err", noise="additive", random_state=0)
)
fit_params = {
    "bayesianerrorsinvariablesregressor__y_err": galaxies["mass_err"],
    "bayesianerrorsinvariablesregressor__y_censored": -galaxies["limit"].astype(int),
}
law.fit(X, galaxies["mass"], **fit_params)
law[-1].summary().round(2)

# %%
# The power is the coefficient (van den Bosch has 5.35 ± 0.23 for all kinds of measurements, limits included). Without
# the limits, and with the errors of dispersions ignored besides, it is smaller:

measured = galaxies[~galaxies["limit"]]
without = BayesianErrorsInVariablesRegressor(error_columns="_err", noise="additive", random_state=0)
without.fit(logs.fit_transform(measured[X.columns]), measured["mass"], y_err=measured["mass_err"])
naive = BayesianErrorsInVariablesRegressor(noise="additive")
naive.fit(np.log10(measured[["dispersion"]]), measured["mass"], y_err=measured["mass_err"])
for name, model in (("all", law[-1]), ("without limits", without), ("and without errors of x", naive)):
    print(f"{name:24} {model.coef_[0]:.2f} ± {model.coef_std_[0]:.2f}")

# %%
# Limits are arrows here, and the band has the line with 95% limits at true dispersions.

dispersion = np.geomspace(15.0, 450.0, 100)
line = pd.DataFrame({"dispersion": np.log10(dispersion), "dispersion_err": 0.0})
low, high = law[-1].predict_interval(line, include_noise=False).T
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
ax.fill_between(dispersion, 10.0**low, 10.0**high, color="tab:blue", alpha=0.25, lw=0)
ax.plot(
    dispersion, 10.0 ** law[-1].predict(line), color="tab:blue", lw=2, label="with limits and errors of x"
)
naive_line = naive.predict(pd.DataFrame({"dispersion": np.log10(dispersion)}))
ax.plot(dispersion, 10.0**naive_line, "--", color="tab:orange", lw=2, label="with neither")
below = galaxies[galaxies["limit"]]
mass = 10.0 ** measured["mass"]
spread = (
    mass - 10.0 ** (measured["mass"] - measured["mass_err"]),
    10.0 ** (measured["mass"] + measured["mass_err"]) - mass,
)
ax.errorbar(
    measured["dispersion"],
    mass,
    spread,
    measured["dispersion_err"],
    "o",
    color="0.3",
    ecolor="0.75",
    ms=4,
    lw=1,
    label="weighed",
)
ax.errorbar(
    below["dispersion"], 10.0 ** below["mass"], 0.5 * 10.0 ** below["mass"], below["dispersion_err"], "_",
    uplims=True, color="tab:red", ecolor="tab:red", ms=6, lw=1, label="upper limits",
)  # fmt: skip
ax.set(xscale="log", yscale="log", xlabel="velocity dispersion, km/s", ylabel="mass of the black hole, suns")
ticks = [20, 50, 100, 200, 400]
ax.set_xticks(ticks, map(str, ticks))
ax.set_xticks([], minor=True)
ax.legend(loc="upper left")
