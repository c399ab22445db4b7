"""Entry point of the process."""

from common.service import run
from services.publish.service import main

run("publish", main)
