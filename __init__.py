"""attar: from a BERT- or GPT-family teacher, data and a budget to a small, measured model that runs on a phone."""

__version__ = "0.1.0"
