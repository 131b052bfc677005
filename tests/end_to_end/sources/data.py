"""Rows that models are trained on: values on which trees split are among them, as in anybody's training data."""

import numpy as np
import pandas as pd

_RNG = np.random.default_rng(0)
X = _RNG.standard_normal((200, 3))
SIDE = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
THIRD = np.digitize(X[:, 0], [-0.5, 0.5])
WORDS = np.where(SIDE == 1, "buys", "leaves")
NUMBER = X @ np.array([2.0, 1.0, -0.5]) + 3
GROUPS = [20] * 10
FRAME = pd.DataFrame(X, columns=["age", "spend", "visits"])
MIXED = FRAME.assign(country=_RNG.choice(["de", "fr", "uk"], len(X)))
