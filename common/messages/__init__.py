"""The messages on the bus, a module for each family that sends them; `common.wire` is the door to all of them."""
