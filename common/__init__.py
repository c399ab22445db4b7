"""What two or more services need: messages, ring, claims, bus, settings, errors, stats, service runner, drawing."""
