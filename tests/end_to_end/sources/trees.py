"""Fitted models of every library of trees, each with what it says itself: by output of the graph."""

from collections.abc import Callable
from typing import Any

import catboost
import lightgbm
import numpy as np
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.end_to_end.sources.data import FRAME, GROUPS, MIXED, NUMBER, SIDE, THIRD, WORDS, X

Says = dict[str, Any]
_CATBOOST = {"iterations": 5, "verbose": 0, "allow_writing_files": False}
_LIGHTGBM: dict[str, Any] = {"n_estimators": 5, "verbose": -1}


def classified(model: Any, rows: Any = X) -> Says:
    return {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}


def counted(model: Any, output: str = "variable") -> Says:
    return {output: model.predict(X)}


def both(one: Any) -> Says:
    """A Booster of two classes answers with the probability of the second."""
    return {"probabilities": np.c_[1 - one, one]}


def _xgb_booster() -> tuple[Any, Says]:
    model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(FRAME, SIDE), 5)
    return model, both(model.predict(xgboost.DMatrix(FRAME)))


def _xgb_ranker() -> tuple[Any, Says]:
    model = xgboost.XGBRanker(n_estimators=5).fit(X, SIDE, group=GROUPS)
    return model, counted(model)


def _lgb_booster() -> tuple[Any, Says]:
    model = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(X, THIRD), 5)
    return model, {"probabilities": model.predict(X)}


def _lgb_ranker() -> tuple[Any, Says]:
    model = lightgbm.LGBMRanker(**_LIGHTGBM).fit(X, SIDE, group=GROUPS)
    return model, counted(model)


def _cat_ranker() -> tuple[Any, Says]:
    model = catboost.CatBoostRanker(**_CATBOOST).fit(X, SIDE, group_id=np.repeat(np.arange(10), 20))
    return model, counted(model, "predictions")


def _fitted(model: Any, target: Any, says: Callable[[Any], Says]) -> Callable[[], tuple[Any, Says]]:
    def fit() -> tuple[Any, Says]:
        fitted = model.fit(X, target)
        return fitted, says(fitted)

    return fit


MODELS: dict[str, Callable[[], tuple[Any, Says]]] = {
    "xgb-booster": _xgb_booster,
    "xgb-classifier": _fitted(xgboost.XGBClassifier(n_estimators=5), THIRD, classified),
    "xgb-regressor": _fitted(xgboost.XGBRegressor(n_estimators=5), NUMBER, counted),
    "xgb-ranker": _xgb_ranker,
    "xgb-pipeline": _fitted(make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=5)), SIDE, classified),
    "lgb-booster": _lgb_booster,
    "lgb-classifier": _fitted(lightgbm.LGBMClassifier(**_LIGHTGBM), WORDS, classified),
    "lgb-regressor": _fitted(lightgbm.LGBMRegressor(**_LIGHTGBM), NUMBER, counted),
    "lgb-ranker": _lgb_ranker,
    "lgb-pipeline": _fitted(make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**_LIGHTGBM)), NUMBER, counted),
    "cat-classifier": _fitted(catboost.CatBoostClassifier(**_CATBOOST), WORDS, classified),
    "cat-regressor": _fitted(catboost.CatBoostRegressor(**_CATBOOST), NUMBER, lambda m: counted(m, "predictions")),
    "cat-ranker": _cat_ranker,
}


def columns_before_xgboost() -> Any:
    """A pipeline over columns by name, of numbers and of words, which ends in a booster."""
    chosen = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "spend", "visits"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["country"]),
        ]
    )
    return make_pipeline(chosen, xgboost.XGBClassifier(n_estimators=5)).fit(MIXED, SIDE)
