"""attar: from a BERT- or GPT-family teacher, data and a budget to a small, measured model that runs on a phone."""

import logging

__version__ = "0.1.0"

# Optional kernels that a CPU does not have, and tracing notes of the libraries: nothing a user can act on.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
