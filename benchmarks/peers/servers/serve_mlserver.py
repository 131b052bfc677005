"""A custom runtime for MLServer, which `mlserver start` imports: serve_mlserver.OnnxRanker."""

import numpy as np
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec
from session import Ranker


class OnnxRanker(MLModel):
    """The model at its `uri`."""

    async def load(self) -> bool:
        """Open it."""
        self.ranker = Ranker(self.settings.parameters.uri)
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Answer, with a batch where MLServer made one."""
        tensor = payload.inputs[0]
        items, scores = self.ranker(np.array(tensor.data.root, np.float32).reshape(tensor.shape))
        outputs = [NumpyCodec.encode_output("items", items), NumpyCodec.encode_output("scores", scores)]
        return types.InferenceResponse(model_name=self.name, outputs=outputs)
