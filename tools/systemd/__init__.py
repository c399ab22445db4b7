"""Makes the node start with the machine."""
