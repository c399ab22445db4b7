"""Documents for other programs, made of the tables that the code uses."""
