"""YuNet in PyTorch: a whole single-shot face detector in a hundred lines, to take along the model workshop's path.

The published weights come from an ONNX file whose convolutions stand in the order in which this module runs them (batch
normalisation is already folded in):

    vedette models pull yunet
    vedette models export examples/models/yunet.py:YuNet --checkpoint yunet --like yunet --out yunet.onnx

Source:
    Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", MIR 2023, figures 2 and 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
HEADS = {"cls": 1, "bbox": 4, "obj": 1, "kps": 10}  # columns of each; in the order of the published file


class Separable(nn.Module):
    """A pointwise and a depthwise convolution."""

    def __init__(self, inputs: int, outputs: int, *, relu: bool = True) -> None:
        super().__init__()
        self.point = nn.Conv2d(inputs, outputs, 1)
        self.depth = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        self.last: nn.Module = nn.ReLU() if relu else nn.Identity()

    def forward(self, picture: Tensor) -> Tensor:
        """Maps of the same height and width."""
        made: Tensor = self.last(self.depth(self.point(picture)))
        return made


class YuNet(nn.Module):
    """Twelve maps for a picture of shape (1, 3, h, w), BGR, 0 to 255; h and w are multiples of 32."""

    outputs = tuple(f"{head}_{stride}" for head in ("cls", "obj", "bbox", "kps") for stride in STRIDES)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), Separable(16, 16), nn.MaxPool2d(2))
        self.low = nn.Sequential(Separable(16, 16), Separable(16, 32), Separable(32, 32), Separable(32, 64))
        pairs = [nn.Sequential(Separable(64, 64), Separable(64, 64)) for _ in STRIDES]
        self.levels = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), pair) for pair in pairs)
        self.laterals = nn.ModuleList(Separable(64, 64) for _ in STRIDES)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.heads = nn.ModuleList(Separable(64, size, relu=False) for size in HEADS.values() for _ in STRIDES)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """The maps in the order of `outputs`: (1, cells, columns) each."""
        fine = self.levels[0](self.low(self.stem(picture)))
        middle = self.levels[1](fine)
        coarse = self.laterals[2](self.levels[2](middle))
        middle = self.laterals[1](middle + self.up(coarse))
        fine = self.laterals[0](fine + self.up(middle))
        maps: dict[str, Any] = {name: [] for name in HEADS}
        for index, head in enumerate(self.heads):
            name = list(HEADS)[index // len(STRIDES)]
            rows = head((fine, middle, coarse)[index % len(STRIDES)]).permute(0, 2, 3, 1).flatten(1, 2)
            maps[name].append(torch.sigmoid(rows) if name in {"cls", "obj"} else rows)
        return (*maps["cls"], *maps["obj"], *maps["bbox"], *maps["kps"])
