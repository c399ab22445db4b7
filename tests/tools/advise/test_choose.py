"""What is chosen from given measurements, and that the reasons name the figures."""

from __future__ import annotations

import yaml

from common.config import check
from common.settings import InferSettings
from tools.advise.choose import Batch, Crew, Size, Way, best_batch, best_crew, best_size, best_way, settings_tree

ONE, TWO = InferSettings(threads=1), InferSettings(threads=2)


def test_threads_that_only_burn_more_cpu_lose() -> None:
    ways = [Way("1 thread", ONE, 5.0, 6.0, 5.0), Way("2 threads", TWO, 5.5, 9.0, 10.0)]
    chosen, reasons = best_way(ways, cores=2)
    assert chosen.name == "1 thread"
    assert reasons[0].startswith("1 thread: 5.0 ms a frame (99 of 100 within 6.0 ms), 5.0 ms of CPU")
    assert "2.2 times fewer frames" in reasons[1]


def test_of_equally_productive_ways_the_one_that_answers_first_wins() -> None:
    ways = [Way("1 thread", ONE, 10.0, 11.0, 10.0), Way("2 threads", TWO, 5.2, 6.0, 10.2)]
    assert best_way(ways, cores=2)[0].name == "2 threads"


def test_way_that_fell_back_or_finds_other_faces_is_never_chosen() -> None:
    ways = [
        Way("CPU", ONE, 9.0, 9.0, 9.0),
        Way("npu", ONE, 1.0, 1.0, 1.0, problem="runs on the CPU instead of Npu: it took none of the 106 nodes"),
        Way("int8", ONE, 1.0, 1.0, 1.0, same=0.8),
    ]
    chosen, reasons = best_way(ways, cores=4)
    assert chosen.name == "CPU"
    assert "not npu: runs on the CPU instead of Npu" in reasons[1]
    assert "not int8: only 80 %" in reasons[2]


def test_smallest_width_that_finds_nearly_all_and_keeps_up() -> None:
    way = Way("CPU", ONE)
    sizes = [Size(320, 2, 0.6, 90), Size(640, 8, 0.98, 40), Size(1280, 32, 1.0, 18)]
    assert best_size(sizes, way, demand_fps=30, cores=2, usual=640)[0] == 640
    width, reasons = best_size(sizes, way, demand_fps=400, cores=2, usual=640)
    assert width == 320
    assert "the best that keeps up with the cameras" in reasons[1]
    width, reasons = best_size(sizes, way, demand_fps=5000, cores=2, usual=640)
    assert width == 320
    assert "cannot look at all 5000 frames" in reasons[1]


def test_without_faces_the_width_stays() -> None:
    width, reasons = best_size([Size(320, 2, 0), Size(640, 8, 0)], Way("CPU", ONE), 30, 2, 640)
    assert width == 640
    assert "no face was seen" in reasons[0]


def test_fewest_workers_with_room_to_spare() -> None:
    crews = [Crew(1, 35, 28), Crew(2, 64, 30), Crew(3, 70, 40)]
    assert best_crew(crews, 30)[0] == 2
    workers, reasons = best_crew(crews, 90)
    assert workers == 3
    assert "never queued" in reasons[0]


def test_frames_go_together_only_where_that_clearly_gains() -> None:
    assert best_batch([], "") == (1, [])
    slower, reasons = best_batch([Batch(1, 5.4), Batch(2, 6.0, 0.8), Batch(4, 6.9, 0.7)], "")
    assert slower == 1
    assert len(reasons) == 1
    assert reasons[0].startswith(
        "max_batch 1: frames of several cameras together gain too little, or not always: 1 in one run: 5.4"
    )
    assert reasons[0].endswith("4 in one run: 6.9 ms a frame")
    assert best_batch([Batch(1, 1.46), Batch(2, 1.41, 1.02), Batch(4, 1.43, 1.01)], "")[0] == 1
    noisy = [Batch(1, 39.0), Batch(2, 31.6, 0.9), Batch(4, 48.7, 0.6)]  # more than one round of measuring disagrees
    assert best_batch(noisy, "")[0] == 1
    assert best_batch([Batch(1, 10), Batch(2, 6.0, 1.6), Batch(4, 5.8, 1.7)], "")[0] == 2  # 4 gains hardly more, later
    four, reasons = best_batch([Batch(1, 10), Batch(2, 6.0, 1.5), Batch(4, 4.0, 2.1)], "")
    assert four == 4
    assert reasons[0].endswith("answers of a whole batch come after 16.0 ms")
    assert best_batch([], "the backend 'tvm' takes one picture at a time")[1] == [
        "max_batch 1: the backend 'tvm' takes one picture at a time"
    ]


def test_the_section_is_valid_settings() -> None:
    infer = InferSettings(width=320, workers=2, backend="openvino", device="GPU", max_batch=2)
    tree = yaml.safe_load(yaml.safe_dump({"infer": settings_tree(infer, InferSettings())}))
    assert check({**tree, "cameras": {"door": {"source": "pattern:64x48@30"}}}).infer == infer
    assert "remote" not in tree["infer"]
