"""Every frame of a clip through the real processes."""
