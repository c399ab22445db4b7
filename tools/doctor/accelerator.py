"""Check of what finds the faces: the backend of the settings loads the model and runs it once, as a worker would."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator

from common.settings import Settings
from tools.doctor.finding import Finding, fail, ok, warn

LOAD_S = 120.0
CPU_ONLY = ["CPUExecutionProvider"]
CHILD = """
import dataclasses, json, sys
from common.errors import DeviceError, VedetteError
from common.settings import InferSettings, RemoteSettings
from services.infer.detector import build_detector
tree = json.loads(sys.stdin.read())
infer = InferSettings(**{**tree, "remote": RemoteSettings(**tree["remote"])})
try:
    answer = dataclasses.asdict(build_detector(infer).placement)
except VedetteError as error:
    answer = {"error": str(error), "away": isinstance(error, DeviceError)}
print("\\n" + json.dumps(answer, default=dict))
"""


def accelerator(settings: Settings) -> Iterator[Finding]:
    """The backend and provider of the settings really do the work; nothing is told of the plain CPU."""
    infer = settings.infer
    if infer.backend == "onnxruntime" and infer.providers == CPU_ONLY and not infer.provider_library:
        return
    check = f"backend {infer.backend}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=json.dumps(dataclasses.asdict(infer)),
            capture_output=True,
            text=True,
            timeout=LOAD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield fail(check, f"does not come to an end within {LOAD_S:.0f} s", "is the device in use by another program?")
        return
    if done.returncode:
        problem = (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1]
        yield fail(check, f"the library crashes: {problem}", "another version of it, or infer.backend: onnxruntime")
        return
    yield _finding(check, json.loads(done.stdout.strip().splitlines()[-1]))


def _finding(check: str, answer: dict[str, object]) -> Finding:
    if "error" in answer:
        text = str(answer["error"])
        if answer["away"]:
            return fail(check, text, "the worker tries again and again until it is there")
        return fail(check, text, "see docs/hardware.md, or set infer.backend: onnxruntime")
    nodes = answer["nodes"]
    assert isinstance(nodes, dict)  # noqa: S101 - our own child
    said = ", ".join(f"{count} nodes on {name}" for name, count in nodes.items())
    if answer["fallback"]:
        return warn(check, f"{answer['fallback']} ({said})", "`vedette advise` tells what is fastest here")
    return ok(check, said)
