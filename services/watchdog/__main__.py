"""Runs the watchdog: `python3 -m services.watchdog`."""

from common.service import run
from services.watchdog.service import main

run("watchdog", main)
