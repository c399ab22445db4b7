"""Infer: finds faces in the newest frames of all cameras."""

from common.config import no_telemetry

no_telemetry()  # here, because nothing of this package may import ONNX Runtime before
