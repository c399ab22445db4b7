"""Runs one worker: `python3 -m services.infer 0`."""

from common.service import run
from services.infer.service import main

run("infer", main)
