"""Fitted models of scikit-learn, each with what it says itself: by output of the graph."""

from collections.abc import Callable
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.end_to_end.sources.data import MIXED, NUMBER, SIDE, THIRD, WORDS, X
from tests.end_to_end.sources.served import Says


def classes(model: Any, rows: Any = X) -> Says:
    """Of a classifier."""
    return {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}


def numbers(model: Any, output: str = "variable") -> Says:
    """Of a regressor or a ranker."""
    return {output: model.predict(X)}


def fitted(model: Any, target: Any, says: Callable[[Any], Says]) -> Callable[[], tuple[Any, Says]]:
    """Fits it when it is called."""

    def fit() -> tuple[Any, Says]:
        done = model.fit(X, target)
        return done, says(done)

    return fit


ESTIMATORS: dict[str, Callable[[], tuple[Any, Says]]] = {
    "classifier": fitted(LogisticRegression(), WORDS, classes),
    "forest": fitted(RandomForestClassifier(5, random_state=0), THIRD, classes),
    "regressor": fitted(Ridge(), NUMBER, numbers),
    "boosting": fitted(GradientBoostingRegressor(n_estimators=5, random_state=0), NUMBER, numbers),
    "scaled": fitted(make_pipeline(StandardScaler(), LogisticRegression()), SIDE, classes),
}


def choose_columns() -> ColumnTransformer:
    """Columns by name, of numbers and of words."""
    return ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "spend", "visits"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["country"]),
        ]
    )


def columns() -> Any:
    """A pipeline over them."""
    return make_pipeline(choose_columns(), LogisticRegression()).fit(MIXED, WORDS)
