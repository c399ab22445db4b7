"""Our structures and requests for Video4Linux2 against the kernel's own header."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from services.capture import v4l2_ioctl as v4l2

STRUCTURES = {
    "v4l2_capability": v4l2.Capability,
    "v4l2_fmtdesc": v4l2.FormatDescription,
    "v4l2_format": v4l2.Format,
    "v4l2_pix_format": v4l2.PixFormat,
    "v4l2_streamparm": v4l2.StreamParameters,
    "v4l2_requestbuffers": v4l2.RequestBuffers,
    "v4l2_buffer": v4l2.Buffer,
}
REQUESTS = ("QUERYCAP", "ENUM_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF", "S_PARM")
OFFSETS = {
    ("v4l2_buffer", "timestamp"): v4l2.Buffer.timestamp.offset,
    ("v4l2_buffer", "m"): v4l2.Buffer.m.offset,
    ("v4l2_buffer", "length"): v4l2.Buffer.length.offset,
    ("v4l2_format", "fmt"): v4l2.Format.fmt.offset,
    ("v4l2_capability", "device_caps"): v4l2.Capability.device_caps.offset,
}


@pytest.mark.skipif(
    shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").exists(), reason="needs gcc and headers"
)
def test_structures_and_requests_are_those_of_the_kernel_header(tmp_path: Path) -> None:
    lines = [f'printf("%zu\\n", sizeof(struct {name}));' for name in STRUCTURES]
    lines += [f'printf("%zu\\n", offsetof(struct {name}, {field}));' for name, field in OFFSETS]
    lines += [f'printf("%lu\\n", (unsigned long)VIDIOC_{name});' for name in REQUESTS]
    source = tmp_path / "sizes.c"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n#include <sys/time.h>\n#include <linux/videodev2.h>\n"
        f"int main(void) {{ {' '.join(lines)} return 0; }}"
    )
    subprocess.run(["gcc", "-o", tmp_path / "sizes", source], check=True)
    told = [int(line) for line in subprocess.run([tmp_path / "sizes"], check=True, capture_output=True).stdout.split()]
    ours = [ctypes.sizeof(structure) for structure in STRUCTURES.values()]
    assert told == ours + list(OFFSETS.values()) + [getattr(v4l2, name) for name in REQUESTS]
