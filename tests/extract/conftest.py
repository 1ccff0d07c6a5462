import pytest
from bottom_up_weights import save_weights, tiny_weights


@pytest.fixture
def random_weights(tmp_path):
    """A file of weights of bottom-up attention's family."""
    return save_weights(tmp_path / "random.pkl", tiny_weights())


@pytest.fixture
def download_settings() -> dict:
    """Settings for a server on this machine: quick to give up, quick to try again."""
    return {
        "contact": None,
        "mirror": None,
        "connections": 16,
        "connections_per_host": 8,
        "gap_per_host": 0,
        "timeout": 0.7,
        "tries": 3,
        "backoff": 0.01,
        "max_retry_after": 2,
        "max_bytes": 100_000,
        "max_pixels": 1_000_000,
        "max_side": None,
        "honour_opt_out": True,
        "honour_robots_txt": True,
        "allow_private_addresses": False,
        "min_success": 0,
    }
