"""What suits this machine: proposals for the settings, from what it has."""
