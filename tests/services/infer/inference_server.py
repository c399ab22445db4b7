"""A server of the Open Inference Protocol v2 over gRPC, from the protocol's own stubs, that runs an ONNX file.

python inference_server.py PORT MODEL NAME [FAULT]. FAULT: `shape` answers in a wrong shape, `slow` takes 30 ms more for
each question, however many pictures it has: an accelerator that is slow to start.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import onnxruntime as ort
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as stubs

LARGEST = ("grpc.max_receive_message_length", 64 << 20)  # gRPC's own 4 MB hold one picture of 640x384, not two


class Servicer(stubs.GRPCInferenceServiceServicer):
    def __init__(self, path, name, fault):
        self.session, self.name, self.fault = ort.InferenceSession(path), name, fault

    def _known(self, name, context):
        if name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Model {name} not found")

    def ModelMetadata(self, request, context):  # noqa: N802
        self._known(request.name, context)
        rows = {}
        for key, items in (("inputs", self.session.get_inputs()), ("outputs", self.session.get_outputs())):
            rows[key] = [
                messages.ModelMetadataResponse.TensorMetadata(
                    name=item.name, datatype="FP32", shape=[d if isinstance(d, int) else -1 for d in item.shape]
                )
                for item in items
            ]
        return messages.ModelMetadataResponse(name=self.name, versions=["1"], platform="onnx", **rows)

    def ModelInfer(self, request, context):  # noqa: N802
        self._known(request.model_name, context)
        if self.fault == "slow":
            time.sleep(0.03)
        picture = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
        names = [item.name for item in self.session.get_outputs()]
        try:
            values = self.session.run(names, {request.inputs[0].name: picture})
        except Exception as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, " ".join(str(error).split())[:200])
        answer = messages.ModelInferResponse(model_name=self.name)
        for name, value in zip(names, values, strict=True):
            shape = [1, *value.shape] if self.fault == "shape" else value.shape
            answer.outputs.add(name=name, datatype="FP32", shape=shape)
            answer.raw_output_contents.append(value.tobytes())
        return answer


def main(port, path, name, fault=""):
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0), LARGEST])
    stubs.add_GRPCInferenceServiceServicer_to_server(Servicer(path, name, fault), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
