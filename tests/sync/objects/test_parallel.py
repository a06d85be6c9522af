"""Many objects on their way at once: what is left in the middle holds nobody up."""

from __future__ import annotations

import threading

import pytest

from artstore.sync.objects.parallel import in_parallel

PATIENCE_S = 20


def test_what_is_left_in_the_middle_is_waited_for_by_who_began_it() -> None:
    """Whoever goes on after a failure may remove what the pieces that were begun still read."""
    ended: list[int] = []
    may_end = threading.Event()

    def work(number: int) -> int:
        if number:
            may_end.wait(PATIENCE_S)
        ended.append(number)
        return number

    answers = in_parallel(work, range(3))
    assert (0, 0) == next(answers)
    threading.Timer(0.2, may_end.set).start()
    answers.close()  # type: ignore[attr-defined] # It is a generator.

    assert {0, 1, 2} == {*ended}


def test_what_is_left_in_the_middle_holds_up_no_other_thread() -> None:
    """Garbage is collected in any thread: one that was just beginning joined these threads, for ever."""
    may_end = threading.Event()

    def work(number: int) -> int:
        if number:
            may_end.wait(PATIENCE_S)
        return number

    answers = in_parallel(work, range(3))
    assert (0, 0) == next(answers)
    other = threading.Thread(target=answers.close)  # type: ignore[attr-defined] # It is a generator.
    other.start()
    other.join(PATIENCE_S / 2)
    is_over = not other.is_alive()
    may_end.set()

    assert is_over


def test_what_fails_ends_the_whole_once_all_that_was_begun_has_ended() -> None:
    ended: list[int] = []

    def work(number: int) -> int:
        if number == 0:
            message = "that one"
            raise ValueError(message)
        threading.Event().wait(0.1)
        ended.append(number)
        return number

    with pytest.raises(ValueError, match="that one"):
        list(in_parallel(work, range(4), at_once=4))

    assert [1, 2, 3] == sorted(ended)
