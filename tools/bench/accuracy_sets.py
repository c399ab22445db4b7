"""Labelled pictures of faces: folders in the layout of WIDER FACE or of COCO."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError

WIDER_INVALID = 7  # column of a WIDER line that marks a face as not usable
LEAST_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and its faces.

    Attributes:
        path: The picture.
        faces: Shape (n, 4), xyxy in pixels.
        ignored: Shape (n,), faces that nobody is asked for.
    """

    path: Path
    faces: NDArray[np.float64]
    ignored: NDArray[np.bool_]


def read_set(folder: Path, labels: Path | None = None, limit: int = 0) -> list[Labelled]:
    """The pictures of a folder that have labels.

    Args:
        folder: With the pictures and the labels, each anywhere inside.
        labels: The file with the labels, when there are several.
        limit: At most so many pictures, spread evenly; 0 takes all.

    Raises:
        ConfigError: No labels, or labels whose pictures are not there, or a line that cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"--data {folder}: no such folder")
    try:
        file = labels or _find_labels(folder)
        known = {item.name: item for item in folder.rglob("*") if item.is_file() and item.suffix != ".json"}
    except OSError as error:  # a folder in it that is not ours to read, or goes away meanwhile
        raise ConfigError(f"--data {folder}: {error}") from error
    rows = list(_coco(file) if file.suffix == ".json" else _wider(file))
    if not rows:
        raise ConfigError(f"{file}: no picture in it")
    found = [
        Labelled(path, *_arrays(faces)) for name, faces in rows if (path := _picture(folder, name, known)) is not None
    ]
    if not found:
        raise ConfigError(f"{file} names {len(rows)} pictures, the first is {rows[0][0]}; none of them is in {folder}")
    if limit and len(found) > limit:
        found = [found[int(index)] for index in np.linspace(0, len(found) - 1, limit)]
    return found


Face = tuple[tuple[float, float, float, float], bool]


def _find_labels(folder: Path) -> Path:
    wider = sorted(folder.rglob("*bbx_gt.txt"))
    coco = [path for path in sorted(folder.rglob("*.json")) if _is_coco(path)]
    found = [*wider, *coco]
    if not found:
        raise ConfigError(f"{folder}: no labels: neither *bbx_gt.txt (WIDER FACE) nor a .json of COCO in it")
    if len(found) > 1:
        raise ConfigError(f"{folder}: several labels, choose one with --labels: {', '.join(map(str, found))}")
    return found[0]


def _is_coco(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            start = file.read(1 << 16)
    except OSError:  # gone again, or not ours to read: then it is not what was meant
        return False
    return '"images"' in start or '"annotations"' in start


def _wider(path: Path) -> Iterator[tuple[str, list[Face]]]:
    """A name, a count, and a line a face: x y w h blur expression illumination invalid occlusion pose."""
    lines = iter(enumerate(_text(path).splitlines(), 1))
    for number, line in lines:
        name = line.strip()
        if not name:
            continue
        try:
            count = int(next(lines)[1])
            rows = [[float(value) for value in next(lines)[1].split()] for _ in range(max(1, count))]
        except (ValueError, StopIteration):
            raise ConfigError(f"{path}:{number}: {name}: a count and a line for each face expected after it") from None
        yield name, [_wider_face(row, f"{path}:{number}") for row in rows[:count]]


def _wider_face(row: Sequence[float], where: str) -> Face:
    if len(row) < LEAST_COLUMNS:
        raise ConfigError(f"{where}: x y w h expected for a face, not {row}")
    x, y, width, height = row[:4]
    invalid = len(row) > WIDER_INVALID and row[WIDER_INVALID] > 0
    return (x, y, x + width, y + height), invalid or width <= 0 or height <= 0


def _coco(path: Path) -> Iterator[tuple[str, list[Face]]]:
    try:
        tree = json.loads(_text(path))
        faces: dict[Any, list[Face]] = {item["id"]: [] for item in tree["images"]}
        for item in tree["annotations"]:
            x, y, width, height = (float(value) for value in item["bbox"])
            faces[item["image_id"]].append(
                ((x, y, x + width, y + height), bool(item.get("iscrowd") or item.get("ignore")))
            )
        names = [(item["file_name"], item["id"]) for item in tree["images"]]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not in the layout of COCO: {type(error).__name__}: {error}") from None
    yield from ((name, faces[key]) for name, key in names)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _picture(folder: Path, name: str, known: dict[str, Path]) -> Path | None:
    """The file of a name, which may be below a folder of pictures; a picture of another folder never stands in."""
    direct = folder / name
    if direct.is_file():
        return direct
    found = known.get(Path(name).name)
    return found if found is not None and str(found).endswith(name) else None


def _arrays(faces: list[Face]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    boxes = np.array([box for box, _ in faces], np.float64).reshape(-1, 4)
    return boxes, np.array([ignored for _, ignored in faces], bool)
