"""An ONNX model for MLServer; runs in MLServer's environment."""

from __future__ import annotations

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse, MetadataTensor


class OnnxModel(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        picture = self.session.get_inputs()[0]
        shape = [axis if isinstance(axis, int) else -1 for axis in picture.shape]
        self.inputs = [MetadataTensor(name=picture.name, datatype="FP32", shape=shape)]
        return True

    async def predict(self, request):
        names = [item.name for item in self.session.get_outputs()]
        tensor = NumpyCodec.decode_input(request.inputs[0])
        values = self.session.run(names, {request.inputs[0].name: tensor})
        outputs = [NumpyCodec.encode_output(name, value) for name, value in zip(names, values, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
