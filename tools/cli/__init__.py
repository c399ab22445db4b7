"""The command `vedette`."""
