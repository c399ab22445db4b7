"""Benchmarks: one module each, run by `vedette bench NAME`; every figure stands beside its peer from the same run."""
