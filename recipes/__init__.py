"""Ready recipes; each opens with the command that runs it."""
