"""Stands in for HailoRT's Python package, as far as its public documentation describes what Vedette uses.

Rules of the real one that this one keeps: formats are set before `configure`; buffers have the exact shape and type of
the stream; a request needs room in the queue; results are there only after the job was waited for; nothing works after
the device was released. A ".hef" file is JSON here: {"input": [h, w, c], "outputs": {name: shape}}.
"""

from __future__ import annotations

import enum
import json
import threading

import numpy as np


class HailoRTException(Exception):  # noqa: N818 - the package's own name
    pass


class HailoRTTimeout(HailoRTException):
    pass


class HailoRTInvalidHEFException(HailoRTException):
    pass


class HailoRTInvalidOperationException(HailoRTException):
    pass


class FormatType(enum.Enum):
    AUTO = 0
    UINT8 = 1
    UINT16 = 2
    FLOAT32 = 3


class HailoSchedulingAlgorithm(enum.Enum):
    NONE = 0
    ROUND_ROBIN = 1


TYPES = {FormatType.UINT8: np.uint8, FormatType.UINT16: np.uint16, FormatType.FLOAT32: np.float32}
devices = ["0001:01:00.0"]  # what is plugged in; tests change it
compute = [lambda picture, outputs: None]  # what the model does with the buffers; tests change it
broken = [None]  # None, or the exception of the next jobs
opened = []
models = []


class Device:
    @staticmethod
    def scan():
        return list(devices)


class VDeviceParams:
    def __init__(self):
        self.scheduling_algorithm = HailoSchedulingAlgorithm.ROUND_ROBIN
        self.group_id = "UNIQUE"
        self.multi_process_service = False


class VDevice:
    def __init__(self, params=None, *, device_ids=None):
        if not devices or (device_ids and not set(device_ids) <= set(devices)):
            raise HailoRTException("libhailort failed with error: 73 (HAILO_OUT_OF_PHYSICAL_DEVICES)")
        self.params, self.released = params or VDeviceParams(), False
        opened.append(self)

    @staticmethod
    def create_params():
        return VDeviceParams()

    def create_infer_model(self, hef_source, network_name=""):
        try:
            with open(hef_source, "rb") as file:
                described = json.load(file)
        except ValueError:
            raise HailoRTInvalidHEFException("Invalid HEF. See hailort.log for more information") from None
        models.append(InferModel(described))
        return models[-1]

    def release(self):
        self.released = True


class InferStream:
    def __init__(self, name, shape):
        self.name, self.shape, self.format_type = name, list(shape), FormatType.AUTO

    def set_format_type(self, kind):
        assert isinstance(kind, FormatType)
        self.format_type = kind


class InferModel:
    def __init__(self, described):
        pictures = described["inputs"] if "inputs" in described else {"input_layer1": described["input"]}
        self.inputs = [InferStream(name, shape) for name, shape in pictures.items()]
        self.outputs = [InferStream(name, shape) for name, shape in described["outputs"].items()]
        self.batch_size = None

    @property
    def input_names(self):
        return [item.name for item in self.inputs]

    @property
    def output_names(self):
        return [item.name for item in self.outputs]

    def set_batch_size(self, batch_size):
        self.batch_size = batch_size

    def configure(self):
        return ConfiguredInferModel(self)


class ConfiguredInferModel:
    def __init__(self, model):
        self.model, self.kinds = model, {item.name: item.format_type for item in model.inputs + model.outputs}

    def create_bindings(self, input_buffers=None, output_buffers=None):
        return Bindings(self, input_buffers or {}, output_buffers or {})

    def wait_for_async_ready(self, timeout_ms=1000, frames_count=1):
        if broken[0] is not None:
            raise broken[0]

    def run_async(self, bindings, callback=None):
        if not isinstance(bindings, list) or len(bindings) > self.model.batch_size:
            raise HailoRTInvalidOperationException("Invalid operation. See hailort.log for more information")
        return AsyncInferJob(bindings)


class Bindings:
    def __init__(self, configured, inputs, outputs):
        for stream in configured.model.inputs + configured.model.outputs:
            buffer = inputs.get(stream.name, outputs.get(stream.name))
            kind = TYPES[configured.kinds[stream.name]]
            if buffer is None or list(buffer.shape) != stream.shape or buffer.dtype != kind:
                raise HailoRTInvalidOperationException("Invalid operation. See hailort.log for more information")
        self.inputs, self.outputs = inputs, outputs


class AsyncInferJob:
    """Computes in a thread of its own; the buffers are written there."""

    def __init__(self, bindings):
        self.bindings = bindings
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        for request in self.bindings:
            (picture,) = request.inputs.values()
            compute[0](picture, request.outputs)

    def wait(self, timeout_ms):
        self.thread.join(timeout_ms / 1000)
        if self.thread.is_alive():
            raise HailoRTTimeout("Received a timeout - hailort has failed because a timeout had occurred")
