"""The demo: a real clip through a real node, its events seen on a real broker."""
