"""What the tests of attacks share."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Tensors this small gain nothing from a second thread, and on a busy machine wait for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
