"""One folder a process: capture, infer, track, publish, view, screen, watchdog."""
