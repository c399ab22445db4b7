"""Models: the known ones, and how they get into the model cache."""
