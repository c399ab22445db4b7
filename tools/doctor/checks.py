"""All checks of the doctor, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from common.settings import Settings
from tools.doctor import accelerator, display, machine, surroundings
from tools.doctor.finding import Finding

CHECKS: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
    machine.python,
    machine.packages,
    machine.realtime,
    machine.shared_memory,
    machine.ipc_removal,
    machine.disk,
    surroundings.model,
    surroundings.providers,
    accelerator.accelerator,
    surroundings.cameras,
    surroundings.broker,
    surroundings.page,
    display.screen,
    surroundings.unit,
)


def examine(settings: Settings) -> list[Finding]:
    """Everything, one after the other; some checks take a few seconds when something is away."""
    return [finding for check in CHECKS for finding in check(settings)]
