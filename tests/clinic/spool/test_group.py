"""What threads ask for at once is done in one step, and each has its own result."""

import threading

import pytest

from orthoedge.clinic.spool.group import Group


def in_threads(count, call):
    """Call it in threads; what each returned or raised."""
    results = [None] * count

    def run(number):
        try:
            results[number] = call(number)
        except ValueError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_each_has_the_result_of_its_own_item():
    group = Group(lambda items: [item * item for item in items])
    assert in_threads(50, group) == [number * number for number in range(50)]


def test_those_that_come_meanwhile_share_the_next_step():
    began, goes_on, sizes = threading.Event(), threading.Event(), []

    def step(items):
        sizes.append(len(items))
        began.set()
        assert goes_on.wait(60)
        return items

    group = Group(step)
    first = threading.Thread(target=group, args=(0,))
    first.start()
    assert began.wait(60)
    rest = [threading.Thread(target=group, args=(number,)) for number in range(1, 9)]
    for thread in rest:
        thread.start()
    while len(group._waiting) < 8:
        pass
    goes_on.set()
    for thread in (first, *rest):
        thread.join()
    assert sizes == [1, 8]


def test_an_error_reaches_all_that_it_concerns_and_no_later_one():
    def step(items):
        if any(item < 0 for item in items):
            raise ValueError("the disk is full")
        return items

    group = Group(step)
    with pytest.raises(ValueError, match="full"):
        group(-1)
    assert group(1) == 1
