"""Request ids: the caller's own where it is fit for logs and headers, else a new one."""

import pytest

from app.services.request_ids import fit_request_id, new_request_id


@pytest.mark.parametrize("given", ["a", "req-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-01", "x" * 128])
def test_a_fit_id_is_kept(given: str) -> None:
    """Callers find their call in our logs by it."""
    assert fit_request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "a b", "a\nb", "a\x00", '"quoted"', "é", "x" * 129])
def test_an_unfit_id_is_not(given: str | None) -> None:
    """It could forge a line of the log, or fill it."""
    assert fit_request_id(given) == ""


def test_new_ids_differ_and_are_fit() -> None:
    """Also between processes: they come from the system's randomness."""
    made = {new_request_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(fit_request_id(request_id) == request_id for request_id in made)
