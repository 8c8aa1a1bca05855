"""Scores: what a model can do as it is, without training it; a sheet states what is asked."""
