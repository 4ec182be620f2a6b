import numpy as np
import pytest

from vb.rtp.masks import every, some


@pytest.mark.parametrize("size", [0, 1, 2, 7, 300])
def test_masks_answer_as_numpy_does(size: int) -> None:
    for mask in (np.zeros(size, np.bool_), np.ones(size, np.bool_), np.arange(size) == size - 1):
        for seen in (mask, mask[::-1], mask[::2]):
            assert some(seen) == bool(seen.any())
            assert every(seen) == bool(seen.all())
