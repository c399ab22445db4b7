"""Looks at the machine and says what to do."""
