"""Starts the view: `python3 -m services.view`."""

from common.service import run
from services.view.service import main

run("view", main)
