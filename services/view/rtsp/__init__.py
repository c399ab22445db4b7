"""H.264 over RTSP: served on demand, and pushed to other servers."""
