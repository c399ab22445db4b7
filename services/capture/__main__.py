"""Process `capture:<camera>`."""

from common.service import run
from services.capture.service import main

run("capture", main)
