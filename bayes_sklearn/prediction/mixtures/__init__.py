"""Mixtures over the posterior's nodes: their densities, distribution functions and quantiles."""
