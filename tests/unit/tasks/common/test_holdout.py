"""The rule that decides every ranking score, on histories small enough to check by eye."""

from collections import Counter

import numpy as np

from securefl.tasks.common.purchase_lines import Pairs, Purchases
from securefl.tasks.common.splits import HeldOut, hold_out, hold_out_dated, sample_negatives


def purchases(lines):
    customer, item, basket, time = np.array(lines, dtype=np.int64).T
    return Purchases(customer, item, basket, time)


def history(baskets, customer=7):
    """Baskets as lists of products, one a day."""
    return [
        (customer, item, 100 + number, 10 * number)
        for number, items in enumerate(baskets)
        for item in items
    ]


def pairs(part: Pairs):
    return list(zip(part.row.tolist(), part.item.tolist(), strict=True))


def test_last_two_baskets_with_something_new_are_held_out():
    cut = hold_out(purchases(history([[1, 2], [1], [3], [2], [1, 4], [4, 1], [2]])), 2)

    assert cut.customers.tolist() == [7]
    assert cut.test.tolist() == [4]
    assert cut.validation.tolist() == [3]
    assert pairs(cut.training) == [(0, 1), (0, 2)]
    assert pairs(cut.known) == [(0, 1), (0, 2), (0, 3)]
    assert pairs(cut.bought) == [(0, 1), (0, 2), (0, 3), (0, 4)]


def test_training_ends_before_the_validation_basket():
    cut = hold_out(purchases(history([[1, 2], [2], [3, 1], [4, 2], [1, 2, 3, 4]])), 2)

    assert cut.training.time.tolist() == [0, 10]
    assert cut.known.time.tolist() == [20, 10, 20]


def test_other_new_products_of_a_held_out_basket_are_not_trained_on():
    cut = hold_out(purchases(history([[1], [2, 3, 4], [5, 6]])), 2)

    assert pairs(cut.training) == [(0, 1)]
    assert cut.validation[0] in {2, 3, 4}
    assert cut.test[0] in {5, 6}


def test_drawn_products_are_spread_over_the_basket():
    lines = [
        line
        for customer in range(600)
        for line in history([[1], [2], [3, 4, 5]], customer=customer)
    ]
    counts = Counter(hold_out(purchases(lines), 2).test.tolist())

    assert set(counts) == {3, 4, 5}
    assert all(150 < count < 250 for count in counts.values())


def test_a_cut_depends_on_neither_row_order_nor_other_customers():
    lines = [
        line
        for customer in range(20)
        for line in history([[1, 5], [2, 6], [3, 7], [4, 8]], customer)
    ]
    shuffled = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]
    whole, mixed = hold_out(purchases(lines), 2), hold_out(purchases(shuffled), 2)
    single = hold_out(purchases([line for line in lines if line[0] == 13]), 2)

    np.testing.assert_array_equal(whole.test, mixed.test)
    np.testing.assert_array_equal(whole.validation, mixed.validation)
    assert pairs(whole.training) == pairs(mixed.training)
    assert single.test[0] == whole.test[13]
    assert single.validation[0] == whole.validation[13]


def test_baskets_at_the_same_time_follow_their_number():
    lines = [(1, 10, 3, 0), (1, 11, 1, 0), (1, 12, 2, 0)]
    cut = hold_out(purchases(lines), 2)

    assert (cut.validation.tolist(), cut.test.tolist()) == ([12], [10])


def test_a_basket_counts_from_its_first_line():
    lines = [(1, 10, 3, 0), (1, 10, 5, 4), (1, 11, 5, 9), (1, 12, 4, 6)]
    cut = hold_out(purchases(lines), 2)

    assert (cut.validation.tolist(), cut.test.tolist()) == ([11], [12])


def test_customers_with_too_little_are_left_out():
    few = history([[1], [2], [1]], customer=1)
    together = history([[1, 2], [3, 4]], customer=2)
    enough = history([[1], [2], [3]], customer=3)
    cut = hold_out(purchases(few + together + enough), 3)

    assert cut.customers.tolist() == [3]
    assert cut.training.row.tolist() == [0]


def test_nothing_at_all():
    empty = np.zeros(0, dtype=np.int64)
    cut = hold_out(Purchases(empty, empty, empty, empty), 1)

    assert len(cut.customers) == len(cut.test) == len(cut.training.item) == 0


def three_customers() -> HeldOut:
    lines = [
        line for customer in range(3) for line in history([[customer], [5], [6]], customer=customer)
    ]
    return hold_out(purchases(lines), 2)


def test_negatives_are_sold_never_bought_and_distinct():
    catalogue = np.arange(0, 200, 2)
    drawn = sample_negatives(three_customers(), catalogue, 40, stream=0)

    for row in range(3):
        assert len(set(drawn[row].tolist())) == 40
        assert set(drawn[row].tolist()) <= set(catalogue.tolist()) - {row, 5, 6}


def test_negatives_differ_by_customer_and_stream_and_repeat():
    catalogue = np.arange(1000)
    first = sample_negatives(three_customers(), catalogue, 20, stream=0)

    np.testing.assert_array_equal(
        first, sample_negatives(three_customers(), catalogue, 20, stream=0)
    )
    assert (first[0] != first[1]).any()
    assert (first != sample_negatives(three_customers(), catalogue, 20, stream=1)).any()


def test_a_small_catalogue_fills_with_minus_one():
    drawn = sample_negatives(three_customers(), np.arange(8), 10, stream=0)

    assert (drawn >= 0).sum(axis=1).tolist() == [5, 5, 5]
    assert (drawn[:, 5:] == -1).all()


def test_a_dated_split_ends_training_for_all_at_once():
    """Also of another customer nothing is trained on that is younger than a case."""
    first = history([[1, 2], [1, 3], [4], [5], [6, 1]], customer=7)
    later = history([[1, 2], [2], [3, 4], [3], [5, 6, 7]], customer=8)
    cut = hold_out_dated(purchases(first + later), 2, end=15, window=15)

    assert cut.customers.tolist() == [7, 8]
    assert cut.training.time.max() <= 15
    assert pairs(cut.training) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert cut.validation.tolist()[0] == 4
    assert cut.validation.tolist()[1] in {3, 4}
    assert cut.test.tolist()[0] == 6
    assert cut.test.tolist()[1] in {5, 6, 7}
    assert (cut.known.time <= 30).all()


def test_a_dated_split_leaves_out_whoever_lacks_a_case():
    """One without a new product in a window, and one who came after the end of training."""
    without = history([[1, 2], [3], [4], [4], [4]], customer=1)
    late = [(2, 1, 100, 20), (2, 2, 101, 25), (2, 3, 102, 40)]
    both = history([[1, 2], [3], [4], [5], [6]], customer=3)
    cut = hold_out_dated(purchases(without + late + both), 2, end=15, window=15)

    assert cut.customers.tolist() == [3]
    assert (cut.validation.tolist(), cut.test.tolist()) == ([4], [6])
    nothing = hold_out_dated(purchases(late), 2, end=15, window=15)
    assert len(nothing.customers) == len(nothing.training.row) == 0
