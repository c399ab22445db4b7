"""Decoders: from the raw outputs of a model family to boxes, scores and landmarks in model pixels."""
