"""Clips of the user's own photographs, with exact ground truth: for `vedette bench track` and `vedette replay`."""

from __future__ import annotations

import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from rich.progress import track

from common.errors import ConfigError
from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from services.infer.detector import build_detector
from tools.bench import report
from tools.bench.scenery import Boxes, Scene, load_plain, load_stills, render
from tools.bench.scenes import SCENES, SIZE, Stock

LOW_SCORE = 0.3  # detections from here on are written: what the tracker of a node is given


def main(arguments: list[str] | None = None) -> int:
    """Make the clips; returns the exit code."""
    parser = report.parser("clips", "make clips of your own photographs of faces, with exact ground truth (MOT format)")
    parser.add_argument("--stills", type=Path, required=True, help="folder of photographs with faces, some in groups")
    parser.add_argument("--plain", type=Path, help="folder of photographs without faces, for the scene 'empty'")
    parser.add_argument("--out", type=Path, required=True, help="folder to write <scene>-<seed>/ into")
    parser.add_argument("--scenes", default=",".join(SCENES), help="which (default all: %(default)s)")
    parser.add_argument("--seeds", default="0", help="comma list (default %(default)s)")
    parser.add_argument("--width", type=int, default=InferSettings().width, help="of the model's input")
    options = parser.parse_args(arguments)
    names, seeds = options.scenes.split(","), [int(seed) for seed in options.seeds.split(",")]
    if unknown := set(names) - set(SCENES):
        raise ConfigError(f"no scene {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    stills = load_stills(options.stills)
    plain = load_plain(options.plain) if options.plain else []
    rows = []
    for name in names:
        for seed in seeds:
            stock = Stock(stills, plain, np.random.default_rng([seed, zlib.crc32(name.encode())]))
            rows.append(make(SCENES[name](stock), options.out / f"{name}-{seed}", options.width))
    report.show("clips", rows, options.json)
    return 0


def make(scene: Scene, folder: Path, width: int) -> dict[str, object]:
    """One clip: clip.mp4, gt/gt.txt, det/det.txt and seqinfo.ini; returns what is in it."""
    truth = _film(scene, folder)
    found = _detect(folder, width)
    for kind, lines in (("gt", truth), ("det", found)):
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / f"{kind}.txt").write_text("".join(lines))
    rows = ["[Sequence]", f"name={folder.name}", f"frameRate={scene.fps:g}", f"seqLength={scene.frames}"]
    rows += [f"imWidth={SIZE[0]}", f"imHeight={SIZE[1]}", ""]
    (folder / "seqinfo.ini").write_text("\n".join(rows))
    return {
        "clip": folder.name,
        "frames": scene.frames,
        "fps": scene.fps,
        "faces": len(truth),
        "found": len(found),
    }


def _film(scene: Scene, folder: Path) -> list[str]:
    """Write clip.mp4; returns the lines of the truth."""
    import av

    folder.mkdir(parents=True, exist_ok=True)
    truth = []
    with av.open(str(folder / "clip.mp4"), "w") as container:
        rate = Fraction(scene.fps).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in track(range(scene.frames), folder.name, transient=True):
            frame, seen = render(scene, number, SIZE)
            truth += [_row(number, index + 1, box, 1.0) for index, box in seen]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
        container.mux(stream.encode(None))
    return truth


def _detect(folder: Path, width: int) -> list[str]:
    """The lines of the detections, of the pictures that a node will see."""
    import av

    detector = build_detector(InferSettings(width=width, min_score=LOW_SCORE))
    geometry = Geometry(*SIZE, PixelFormat.BGR)
    found = []
    with av.open(str(folder / "clip.mp4")) as container:
        for number, picture in enumerate(container.decode(video=0)):
            boxes, scores, _ = detector.detect([np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)], geometry)
            found += [_row(number, -1, box, float(score)) for box, score in zip(boxes, scores, strict=True)]
    return found


def _row(number: int, index: int, box: Boxes, score: float) -> str:
    x1, y1, x2, y2 = box
    return f"{number + 1},{index},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},1,1\n"
