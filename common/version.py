"""The version of the node, in one place."""

VERSION = "0.1.0"
