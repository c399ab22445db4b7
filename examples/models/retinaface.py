"""RetinaFace with the MobileNet 0.25 backbone in PyTorch, to take along the model workshop's path.

    vedette models pull retinaface-mobilenet
    vedette models export examples/models/retinaface.py:RetinaFace --checkpoint retinaface-mobilenet \
        --like retinaface-mobilenet --out retinaface.onnx

Batch normalisation is folded into the published weights, so every block here is a convolution and an activation.

Source:
    Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild", 2019; Najibi et al., "SSH", 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 32, 64, 64), (128, 128, 128, 128, 128, 128), (256, 256)  # channels after each block of a stage
ANCHORS = 2


def block(
    inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1, slope: float = 0.1
) -> nn.Module:
    """A convolution and a leaky rectifier."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups), nn.LeakyReLU(slope))


def stage(inputs: int, widths: tuple[int, ...], *, first: bool = False) -> nn.Sequential:
    """Depthwise separable blocks; the picture is halved where the channels are doubled, the first time excepted."""
    parts = []
    for index, outputs in enumerate(widths):
        halved = index in {1, 3} if first else index == 0
        parts += [block(inputs, inputs, stride=1 + halved, groups=inputs), block(inputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*parts)


class Context(nn.Module):
    """Three fields of view on one map, side by side."""

    def __init__(self, width: int, slope: float) -> None:
        super().__init__()
        quarter = width // 4
        self.near = nn.Conv2d(width, width // 2, 3, padding=1)
        self.shared = block(width, quarter, slope=slope)
        self.middle = nn.Conv2d(quarter, quarter, 3, padding=1)
        self.far = nn.Sequential(block(quarter, quarter, slope=slope), nn.Conv2d(quarter, quarter, 3, padding=1))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        near, shared = self.near(maps), self.shared(maps)
        return torch.relu(torch.cat((near, self.middle(shared), self.far(shared)), 1))


class RetinaFace(nn.Module):
    """Boxes, scores and landmarks of all anchors; the picture is (1, 3, h, w), BGR less its mean."""

    outputs = ("loc", "conf", "landmarks")

    def __init__(self, width: int = 64, slope: float = 0.1) -> None:
        super().__init__()
        self.stem = block(3, 8, stride=2)
        self.stages = nn.ModuleList(
            stage(inputs, widths, first=inputs == 8) for inputs, widths in zip((8, 64, 128), WIDTHS, strict=True)
        )
        self.laterals = nn.ModuleList(block(widths[-1], width, 1, slope=slope) for widths in WIDTHS)
        self.merges = nn.ModuleList(block(width, width, slope=slope) for _ in range(2))
        self.contexts = nn.ModuleList(Context(width, slope) for _ in WIDTHS)
        self.scores, self.boxes, self.points = (
            nn.ModuleList(nn.Conv2d(width, ANCHORS * size, 1) for _ in WIDTHS) for size in (2, 4, 10)
        )

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loc (1, anchors, 4), conf (1, anchors, 2), landmarks (1, anchors, 10)."""
        maps, levels = self.stem(picture), []
        for part in self.stages:
            maps = part(maps)
            levels.append(maps)
        fine, middle, coarse = (lateral(level) for lateral, level in zip(self.laterals, levels, strict=True))
        up = nn.functional.interpolate
        middle = self.merges[0](middle + up(coarse, scale_factor=2.0, mode="nearest"))
        fine = self.merges[1](fine + up(middle, scale_factor=2.0, mode="nearest"))
        levels = [context(level) for context, level in zip(self.contexts, (fine, middle, coarse), strict=True)]
        scores, boxes, points = (
            torch.cat(
                [
                    head(level).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, size))
                    for head, level in zip(heads, levels, strict=True)
                ],
                1,
            )
            for heads, size in ((self.scores, 2), (self.boxes, 4), (self.points, 10))
        )
        return boxes, torch.softmax(scores, -1), points
