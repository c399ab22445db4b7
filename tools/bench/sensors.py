"""Power and temperature of the machine, from whatever it has: the Pi's power chip, RAPL, a hardware monitor."""

from __future__ import annotations

import time
from pathlib import Path

from services.publish.statistics import power_w, temperature_c

POWERCAP = Path("/sys/class/powercap")
HWMON = Path("/sys/class/hwmon")


class PowerMeter:
    """Mean power between two looks; the first way that answers is kept.

    Attributes:
        source: `pmic`, `rapl`, `hwmon`, or empty where nothing can be read.
    """

    def __init__(self, powercap: Path = POWERCAP, hwmon: Path = HWMON) -> None:
        self._energy = sorted(path for path in powercap.glob("*-rapl:?/energy_uj") if _number(path) is not None)
        self._sensors = sorted(path for path in hwmon.glob("hwmon*/power*_input") if _number(path) is not None)
        if power_w() is not None:
            self.source = "pmic"
        else:
            self.source = "rapl" if self._energy else "hwmon" if self._sensors else ""
        self.start()

    def start(self) -> None:
        """Begin an interval."""
        self._at, self._joules = time.monotonic(), self._read_joules()

    def watts(self) -> float | None:
        """Mean of the interval where energy is counted, else the power now; None where neither can be read."""
        if self.source == "pmic":
            return power_w()
        if self.source == "rapl":
            used, seconds = self._read_joules() - self._joules, time.monotonic() - self._at
            return round(used / seconds, 2) if used >= 0 and seconds > 0 else None  # the counter wraps around
        if self.source == "hwmon":
            return round(sum(_number(path) or 0 for path in self._sensors) / 1e6, 2)
        return None

    def _read_joules(self) -> float:
        return sum(_number(path) or 0 for path in self._energy) / 1e6


def temperature() -> float | None:
    """Warmest zone, degrees Celsius; None where there is none."""
    return temperature_c()


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
