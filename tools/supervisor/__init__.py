"""The node as a whole: its supervisord.conf, its start, its end, its state."""
