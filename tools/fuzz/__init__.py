"""Fuzzing of everything that takes foreign bytes."""
