"""Prints what the doctor found."""

from __future__ import annotations

from collections.abc import Iterable

from tools.doctor.finding import Finding

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def show(findings: Iterable[Finding]) -> None:
    """One line a finding, and below it what to do."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for row in findings:
        console.print(Text.assemble((f"{row.result:<5}", STYLES[row.result]), f"{row.check}: {row.text}"))
        if row.hint:
            console.print(Text(f"     {row.hint}", style="dim"))
