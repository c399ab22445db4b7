"""Every deliberate error of the node, as a tree.

VedetteError
├── ConfigError   wrong settings or usage: exit code 2, never restarted
├── FrameGone     the frame was overwritten or its ring was replaced: drop the frame
├── WireError     bytes that are not a message of ours: count and drop them
├── DeviceError   a camera, accelerator, broker or file is away: retry inside the service with back-off
├── ModelError    a model that does not fit its decoder or its backend
└── RingError     a ring or claims file cannot be made (no room, no right)
"""


class VedetteError(Exception):
    """Base of all deliberate errors."""


class ConfigError(VedetteError):
    """Wrong settings or wrong usage; ends a service with exit code 2, which is never restarted."""


class FrameGone(VedetteError):  # noqa: N818 - a state of the world, not a fault
    """The frame behind a handle was overwritten, or its ring was replaced."""


class WireError(VedetteError):
    """Bytes that do not parse as the expected message."""


class DeviceError(VedetteError):
    """A camera, accelerator, broker or file is away; the service retries with back-off."""


class ModelError(VedetteError):
    """A model file that cannot be loaded, or whose inputs or outputs do not fit its decoder."""


class RingError(VedetteError):
    """A shared memory file cannot be made or opened."""
