"""Restarts what hangs or what supervisord gave up, and notes why each process ended."""
