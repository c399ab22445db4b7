"""The pictures for people: the page, MJPEG streams, snapshots, and what a person may press."""
