"""Teachers: where they come from, how their weights are laid out, how they learn a task."""
