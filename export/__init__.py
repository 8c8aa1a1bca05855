"""Artefacts: how they are made, which runtime loads them, how they are proved, and the bundle they travel in."""
