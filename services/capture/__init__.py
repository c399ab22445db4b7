"""Brings the frames of one camera into its ring."""
