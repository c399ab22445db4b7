"""The picture on a display of this machine: HDMI through the kernel's mode setting, or a window."""
