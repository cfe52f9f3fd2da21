"""Logistic regression of hit or miss on one variable, by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from kdlnet.metrics.result import Floats

_STEPS = 100


@dataclass(frozen=True, slots=True)
class LogitFit:
    """P(hit) = 1 / (1 + exp(-(intercept + slope x))) and its log-likelihood."""

    intercept: float
    slope: float
    likelihood: float


def log_likelihood(logits: Floats, hits: Floats) -> float:
    """Of hits (N,), 0 or 1, under these log odds (N,)."""
    return float(np.sum(log_expit(np.where(hits > 0, logits, -logits))))


def fit_logit(x: Floats, hits: Floats) -> LogitFit:
    """The best line; x (N,) must not part hits from misses, or there is none."""
    centre, scale = float(x.mean()), float(x.std())
    z = (x - centre) / scale
    share = hits.mean()
    intercept, slope = _newton(np.ones_like(z), z, np.log(share / (1 - share)), hits)
    best = log_likelihood(intercept + slope * z, hits)
    return LogitFit(intercept - slope * centre / scale, slope / scale, best)


def _newton(one: Floats, z: Floats, start: float, hits: Floats) -> tuple[float, float]:
    """Newton's method with halved steps; the log-likelihood is concave."""
    design, beta = np.stack([one, z]), np.array([start, 0.0])
    value = log_likelihood(beta @ design, hits)
    for _ in range(_STEPS):
        share = expit(beta @ design)
        curvature = (design * (share * (1 - share))) @ design.T
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), design @ (hits - share))
        while (moved := log_likelihood((beta + step) @ design, hits)) < value and step.any():
            step = np.where(np.abs(step) < 1e-15, 0.0, step / 2)
        beta, gain, value = beta + step, moved - value, moved
        if gain < 1e-12:
            break
    return float(beta[0]), float(beta[1])


def profile(x: Floats, hits: Floats, at: float, odds: float, slope: float) -> float:
    """The highest log-likelihood of all lines that have the log odds ``odds`` at ``at``.

    ``slope`` is where the search begins.
    """
    distance = x - at
    value = log_likelihood(odds + slope * distance, hits)
    for _ in range(_STEPS):
        share = expit(odds + slope * distance)
        curvature = float(np.sum(distance**2 * share * (1 - share)))
        step = float(distance @ (hits - share)) / max(curvature, 1e-12)
        while (moved := log_likelihood(odds + (slope + step) * distance, hits)) < value:
            step = step / 2 if abs(step) > 1e-15 else 0.0
        slope, gain, value = slope + step, moved - value, moved
        if gain < 1e-10:
            break
    return value


def fit_end(x: Floats, hits: Floats, start: LogitFit, end: str) -> tuple[float, float]:
    """The same curve between 0 and a ``"ceiling"``, or a ``"floor"`` and 1.

    Gives that end and the log-likelihood, which is at least that of ``start``.
    """
    ceiling = end == "ceiling"
    centre, scale = float(x.mean()), float(x.std())
    z = (x - centre) / scale

    def cost(beta: Floats) -> tuple[float, Floats]:
        share, edge = expit(beta[0] + beta[1] * z), expit(beta[2])
        height = edge if ceiling else 1 - edge
        curve = np.clip(height * share + (0 if ceiling else edge), 1e-12, 1 - 1e-12)
        pull = np.where(hits > 0, 1 / curve, -1 / (1 - curve))
        by_line = pull * height * share * (1 - share)
        by_end = pull * (share if ceiling else 1 - share) * edge * (1 - edge)
        gradient = np.array([by_line.sum(), by_line @ z, by_end.sum()])
        return -float(np.sum(np.log(np.where(hits > 0, curve, 1 - curve)))), -gradient

    fifth = np.argsort(-x if ceiling else x)[: -(-len(x) // 5)]
    edge = np.clip(hits[fifth].mean(), 0.05, 0.95)
    first = [start.intercept + start.slope * centre, start.slope * scale, logit(edge)]
    found = minimize(cost, first, jac=True, method="BFGS")
    if -found.fun <= start.likelihood:
        return (1.0 if ceiling else 0.0), start.likelihood
    return float(expit(found.x[2])), float(-found.fun)
