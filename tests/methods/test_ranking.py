import numpy as np
import pytest

from lab.methods.ranking import ranks


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int8, np.float16, np.float32])
def test_the_highest_value_has_rank_0_whatever_its_number_type(dtype):
    values = np.array([[0, 1, 100], [120, 1, 127]], dtype)
    assert ranks(values).tolist() == [[5, 3, 2], [1, 4, 0]]  # equal ones row by row
    assert ranks(values > 1).tolist() == [[3, 4, 0], [1, 5, 2]]
