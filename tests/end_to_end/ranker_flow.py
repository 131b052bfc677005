"""A Metaflow flow whose last step publishes what it trained, as a user writes it."""

import numpy as np
from metaflow import FlowSpec, Parameter, step
from sklearn.linear_model import Ridge

from publisher.metaflow import publish


class RankerFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self) -> None:
        self.x = np.random.default_rng(0).standard_normal((200, 3))
        self.y = self.x @ np.array([2.0, 1.0, -0.5]) + 3
        self.next(self.train)

    @step
    def train(self) -> None:
        self.model = Ridge(alpha=self.alpha).fit(self.x, self.y)
        self.asked = self.x[:4].astype(np.float32)
        self.answers = self.model.predict(self.asked)
        self.next(self.end)

    @step
    def end(self) -> None:
        said = {"metrics": {"r2": self.model.score(self.x, self.y)}}
        self.version = publish("ranker", self.model, training_data=self.x, owner="flows", lineage=said).version


if __name__ == "__main__":
    RankerFlow()  # type: ignore[no-untyped-call]
