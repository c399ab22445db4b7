"""What people run: the command line, the demo, benchmarks, the model workshop. No service needs any of it."""
