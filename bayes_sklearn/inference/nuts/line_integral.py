"""Stand-in."""
import numpy as np


def graph_over_line(likelihood, mean, variance, values, data, places, noise=None):
    import pytensor.tensor as pt

    if likelihood.has_noise_scale:
        nu = values["nu"]
        own = data.noise.variance(values, data.standard_error, data.resolution) if noise is None else noise[2]
        sd = pt.sqrt(2.0 / nu)
        far = pt.minimum(pt.log1p(400.0 / nu), (18.0 + 4) / nu)
        lower = -pt.minimum(1.0 + 18.0 / nu, 12.0 * sd) - far
        upper = pt.minimum(1.0 + pt.log1p(18.0 / nu), 8.0 * sd)
        lp = (lower + (upper - lower) * np.linspace(0, 1, 40))[:, None]
        lw = 0.5 * nu * (lp - pt.exp(lp))
        lw = lw - pt.logsumexp(lw)
        v = variance + own * pt.exp(-lp)
        mu = mean
        if noise is not None:
            root = pt.exp(-0.5 * lp)
            v = v + 2 * root * noise[1]
            mu = mu + root * noise[0]
        return pt.logsumexp(lw - 0.5 * pt.square(data.y - mu) / v - 0.5 * pt.log(v), axis=0)
    square = 1.0 / (1.0 + places.precision * variance)
    center = mean + variance * places.precision * (places.target - mean) * square
    width = pt.sqrt(variance * square)
    reach = places.below + places.above
    steps = np.linspace(0.0, 1.0, 16)[:, None]
    t = -places.below + reach * steps
    eta = center + width * t
    of = likelihood.graph(eta, values, data) - 0.5 * pt.square(eta - mean) / variance
    high = of.max(axis=0)
    return high + pt.log(pt.exp(of - high).sum(axis=0)) + pt.log(reach) - 0.5 * pt.log1p(places.precision * variance)
