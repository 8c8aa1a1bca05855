r"""The default task: which of 32 things does somebody want from their phone?

It ships with the package, so a first run needs no download and no licence. To look at it:

    python -c "from attar.tasks.assistant import examples; print(*examples('test')[:20], sep='\n')"
"""

from .generate import examples, labels

__all__ = ["examples", "labels"]
