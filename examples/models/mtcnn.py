"""The three networks of MTCNN in PyTorch, to be filled with the weights that the package facenet-pytorch carries.

    weights=facenet-pytorch==2.6.0:facenet_pytorch/data
    vedette models export examples/models/mtcnn.py:PNet --checkpoint $weights/pnet.pt --dynamic size,batch \
        --colour rgb --mean 127.5 --scale 0.0078125 --out pnet.onnx
    vedette models export examples/models/mtcnn.py:ONet --checkpoint $weights/onet.pt --size 48x48 --dynamic batch \
        --colour rgb --mean 127.5 --scale 0.0078125 --out onet.onnx

They are a cascade that needs its own loop around it, so they are no model of the node; they show the path for classes
with a plain checkpoint. The names of the layers are those of the checkpoint.

Source:
    Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016, figure 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PNet(nn.Module):
    """Proposals: boxes and scores of a window of 12 pixels at every second pixel."""

    outputs = ("boxes", "scores")

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 4, h, w) and (n, 2, h, w)."""
        maps = self.pool1(self.prelu1(self.conv1(picture)))
        maps = self.prelu3(self.conv3(self.prelu2(self.conv2(maps))))
        return self.conv4_2(maps), torch.softmax(self.conv4_1(maps), 1)


class RNet(nn.Module):
    """Refinement of one crop of 24 pixels."""

    outputs = ("boxes", "scores")

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 4) and (n, 2)."""
        maps = self.pool(self.prelu1(self.conv1(picture)))
        maps = self.pool(self.prelu2(self.conv2(maps)))
        maps = self.prelu3(self.conv3(maps)).permute(0, 3, 2, 1).flatten(1)  # columns first, as it was trained
        row = self.prelu4(self.dense4(maps))
        return self.dense5_2(row), torch.softmax(self.dense5_1(row), 1)


class ONet(nn.Module):
    """Boxes, landmarks and score of one crop of 48 pixels."""

    outputs = ("boxes", "landmarks", "scores")

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.pool, self.pool3 = nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, 2, ceil_mode=True)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 4), (n, 10) and (n, 2)."""
        maps = self.pool(self.prelu1(self.conv1(picture)))
        maps = self.pool(self.prelu2(self.conv2(maps)))
        maps = self.pool3(self.prelu3(self.conv3(maps)))
        maps = self.prelu4(self.conv4(maps)).permute(0, 3, 2, 1).flatten(1)  # columns first, as it was trained
        row = self.prelu5(self.dense5(maps))
        return self.dense6_2(row), self.dense6_3(row), torch.softmax(self.dense6_1(row), 1)
