"""Starts the screen: `python3 -m services.screen`."""

from common.service import run
from services.screen.service import main

run("screen", main)
