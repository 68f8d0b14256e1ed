"""The real hosts do nothing that the model does not allow, whatever is asked, cut, started again and lands late."""

import pytest

from tests.model.machine import look_for_steps


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_hosts_do_what_the_model_allows(seed: int) -> None:
    """Sequences of steps drawn by the session's seed; `buildscripts/soak --steps N` draws more of them."""
    await look_for_steps(15, seed)
