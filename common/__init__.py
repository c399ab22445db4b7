"""What two or more services need: wire, ring, claims, bus, settings, errors, stats, service runner."""
