"""Fitted models of every library of trees, each with what it says itself: by output of the graph."""

from collections.abc import Callable
from typing import Any

import catboost
import lightgbm
import numpy as np
import xgboost
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.end_to_end.sources.data import FRAME, GROUPS, MIXED, NUMBER, SIDE, THIRD, WORDS, X
from tests.end_to_end.sources.estimators import choose_columns, classes, fitted, numbers
from tests.end_to_end.sources.served import Says

_CATBOOST = {"iterations": 5, "verbose": 0, "allow_writing_files": False}
_LIGHTGBM: dict[str, Any] = {"n_estimators": 5, "verbose": -1}


def _both(one: Any) -> Says:
    """A Booster of two classes answers with the probability of the second."""
    return {"probabilities": np.c_[1 - one, one]}


def _xgb_booster() -> tuple[Any, Says]:
    model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(FRAME, SIDE), 5)
    return model, _both(model.predict(xgboost.DMatrix(FRAME)))


def _xgb_ranker() -> tuple[Any, Says]:
    model = xgboost.XGBRanker(n_estimators=5).fit(X, SIDE, group=GROUPS)
    return model, numbers(model)


def _lgb_booster() -> tuple[Any, Says]:
    model = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(X, THIRD), 5)
    return model, {"probabilities": model.predict(X)}


def _lgb_ranker() -> tuple[Any, Says]:
    model = lightgbm.LGBMRanker(**_LIGHTGBM).fit(X, SIDE, group=GROUPS)
    return model, numbers(model)


def _cat_ranker() -> tuple[Any, Says]:
    model = catboost.CatBoostRanker(**_CATBOOST).fit(X, SIDE, group_id=np.repeat(np.arange(10), 20))
    return model, numbers(model, "predictions")


MODELS: dict[str, Callable[[], tuple[Any, Says]]] = {
    "xgb-booster": _xgb_booster,
    "xgb-classifier": fitted(xgboost.XGBClassifier(n_estimators=5), THIRD, classes),
    "xgb-regressor": fitted(xgboost.XGBRegressor(n_estimators=5), NUMBER, numbers),
    "xgb-ranker": _xgb_ranker,
    "xgb-pipeline": fitted(make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=5)), SIDE, classes),
    "lgb-booster": _lgb_booster,
    "lgb-classifier": fitted(lightgbm.LGBMClassifier(**_LIGHTGBM), WORDS, classes),
    "lgb-regressor": fitted(lightgbm.LGBMRegressor(**_LIGHTGBM), NUMBER, numbers),
    "lgb-ranker": _lgb_ranker,
    "lgb-pipeline": fitted(make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**_LIGHTGBM)), NUMBER, numbers),
    "cat-classifier": fitted(catboost.CatBoostClassifier(**_CATBOOST), WORDS, classes),
    "cat-regressor": fitted(catboost.CatBoostRegressor(**_CATBOOST), NUMBER, lambda m: numbers(m, "predictions")),
    "cat-ranker": _cat_ranker,
}


def columns_before_xgboost() -> Any:
    """A pipeline over columns by name, of numbers and of words, which ends in a booster."""
    return make_pipeline(choose_columns(), xgboost.XGBClassifier(n_estimators=5)).fit(MIXED, SIDE)
