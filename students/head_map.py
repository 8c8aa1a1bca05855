"""Which of its teacher's attention heads each head of a student stands for, where they have different numbers of heads.

- Head i of h has the share [i H/h, (i+1) H/h) of the H heads, as in adaptive average pooling: groups of neighbours
  where h divides H, each its own where h = H, and with h > H some teacher heads are had by several.
- The scores of a share are averaged, in the start (`narrow`) as in the loss (`compress.losses.pool_heads`), so that a
  student starts at what it is then taught.
"""

from __future__ import annotations


def shares(large: int, small: int) -> list[range]:
    """The teacher's heads, from 0, of `large`, for each of the student's `small` heads; neighbours may overlap."""
    return [range(i * large // small, -(-(i + 1) * large // small)) for i in range(small)]
