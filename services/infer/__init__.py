"""Infer: finds faces in the newest frames of all cameras."""
