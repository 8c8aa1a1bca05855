"""Teachers: where they come from, how their weights are laid out, how they learn a task."""

import logging

# Optional kernels that a CPU does not have, and tracing notes of the libraries: nothing a user can act on.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
