"""Entry point of the process."""

from common.service import run
from services.track.service import main

run("track", main)
