"""A unit's part is the same whatever units are in the batch beside it: wide ones, or none at all.

The weights are those of a coordinator that sends what suits it.
"""

import pytest
import torch

from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.tasks.common.contribution_bounds import UserBatches
from securefl.tasks.common.histories import CustomerExamples, Histories
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.profile import ProfileRanker
from securefl.tasks.recommendation.profile import masked_loss

# The lowest torch takes one unit after the other for one operation, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
PATHS = ("hooks", "bookkeeping", "vectorised")
PRODUCTS, NARROW, WIDE, OTHERS = 96, 21, 96, 20


@pytest.fixture(autouse=True)
def _in_single_precision(monkeypatch):
    """Every other purchase is shown, of each customer alike, so that draws are coupled."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(torch, "rand_like", lambda x: (torch.arange(x.shape[-1]) % 2).expand_as(x))


def loss(model, batch):
    _, items, weights, _ = batch
    return masked_loss(model, items, weights, 0.5)


def shops(tools, *, wide):
    """Customers with few purchases each, and at the end one with many; a model made for it.

    What the customers' gradients add up to by category is 0 but for rounding, and 1e10 times that
    is the gradient of the map.
    """
    lengths = torch.tensor([NARROW] * OTHERS + [WIDE] * wide)
    start = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    draws = [torch.Generator().manual_seed(customer) for customer in range(len(lengths))]
    each = list(zip(lengths.tolist(), draws, strict=True))
    items = [torch.randperm(PRODUCTS, generator=draw)[:n].sort()[0] for n, draw in each]
    weights = [torch.rand(n, generator=draw) + 0.1 for n, draw in each]
    shares = torch.cat([weight / weight.sum() for weight in weights])
    histories = Histories(start, torch.cat(items).int(), shares, torch.cat(items).int())
    home = torch.zeros(len(lengths), dtype=torch.int64)
    levels = [torch.arange(PRODUCTS) % size for size in (3, 8, 12)]
    model = ProfileRanker(ProfileSettings(rank=2), levels, PRODUCTS)
    with torch.no_grad():
        model.decode.weight.fill_(1e10)
        model.encode.weight.zero_()
    return tools.Case(model, CustomerExamples(histories, home, torch.zeros(1, 0)), loss)


def moved_beside(path, settings, trainer, tools):
    """How far others' sum moves when the wide customer is in the batch beside them."""
    made = settings(path=path, clip_norm=1.0)
    both, less = (trainer(shops(tools, wide=wide), made) for wide in (True, False))
    whole = both.clipped_sum(torch.arange(OTHERS + 1))
    own = both.clipped_sum(torch.tensor([OTHERS]))
    return float((whole - own - less.clipped_sum(torch.arange(OTHERS))).norm())


@pytest.mark.parametrize("path", PATHS)
def test_no_history_beside_a_unit_rounds_it(path, settings, trainer, tools):
    """Sums over a unit's purchases have the unit's own width, and not that of the batch."""
    assert moved_beside(path, settings, trainer, tools) <= 1e-9


def test_width_of_the_batch_would_be_found(settings, trainer, tools, monkeypatch):
    """One customer with a longer history moved all others, by up to 2 clip norms together."""
    widest = "securefl.privacy.dpsgd.trainer._widths"
    monkeypatch.setattr(widest, lambda sizes: sizes.max().expand_as(sizes))
    assert moved_beside("bookkeeping", settings, trainer, tools) > 1e-3


def cancelling(tools, dtype, customers=40):
    """Customers of one width, and a map whose codes cancel, so that rounding alone is left of it.

    Rows of 21 categories, and of 5 numbers, each begin at another place of a line of the cache.
    """
    draw = torch.Generator().manual_seed(1)
    bought = [torch.randperm(PRODUCTS, generator=draw)[:NARROW] for _ in range(customers)]
    items, each = torch.cat(bought).int(), torch.arange(customers + 1) * NARROW
    shares = torch.full((len(items),), 1 / NARROW, dtype=dtype)
    histories = Histories(each, items, shares, items)
    levels = [torch.arange(PRODUCTS) % size for size in (3, 21, 21)]
    model = ProfileRanker(ProfileSettings(rank=5), levels, PRODUCTS).to(dtype)
    with torch.no_grad():
        model.encode.weight.normal_(generator=draw)
        model.decode.weight.normal_(std=1e8 if dtype == torch.float32 else 1e17, generator=draw)
        model.encode.weight[2:4] = model.encode.weight[:2]
        model.decode.weight[:, 2:4] = -model.decode.weight[:, :2]
        model.decode.weight[:, 4] = 0
    home = torch.zeros(customers, dtype=torch.int64)
    return tools.Case(
        model, CustomerExamples(histories, home, torch.zeros(1, 0, dtype=dtype)), loss
    )


def moved_up(path, dtype, settings, trainer, tools):
    """How far the sum moves without the first customer, all others being one place further up."""
    private = trainer(cancelling(tools, dtype), settings(path=path, clip_norm=1.0))
    every = torch.arange(40)
    return float((private.clipped_sum(every) - private.clipped_sum(every[1:])).norm())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_place_in_a_batch_rounds_a_unit(path, dtype, settings, trainer, tools):
    """Products of matrices round a row by where it begins in memory; rows are filled up."""
    assert moved_up(path, dtype, settings, trainer, tools) <= 1 + 1e-6


def test_rows_that_are_not_filled_up_would_be_found(settings, trainer, tools, monkeypatch):
    """One customer less moved all others, by up to 5 clip norms together."""
    monkeypatch.setattr("securefl.privacy.dpsgd.aligned_products._LINE", 1)
    if torch.backends.mkl.is_available():
        assert moved_up("bookkeeping", torch.float64, settings, trainer, tools) > 1.01


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("path", PATHS)
def test_rows_move_alike_without_a_unit_in_the_step(path, optimizer, settings, trainer, tools):
    """Momentum moves all rows in every step, whether or not a unit is in it."""
    rows = []
    for alone in (torch.tensor([3]), torch.zeros(0, dtype=torch.int64)):
        torch.manual_seed(0)
        case = tools.local_vectors()
        options = {"momentum": 0.9} if optimizer == "sgd" else {}
        made = settings(path=path, optimizer=optimizer, **options)
        private = trainer(case, made)
        private.clipped_sum(torch.tensor([0, 1, 2]))
        private.clipped_sum(alone)
        rows.append(case.model.user.weight.detach().clone())
    assert torch.equal(rows[0][:3], rows[1][:3])
    assert not torch.equal(rows[0][3], rows[1][3])


def test_padding_reads_no_other_customer():
    """Padding once held the first customer's row, whose loss may be no number."""
    owner = torch.tensor([0, 1, 1, 1, 2, 2])
    batches = UserBatches.of(owner, (owner, torch.arange(6)), limit=8)
    owners, rows, present = batches.sized_batch(torch.tensor([1, 2]), 4)
    assert torch.equal(owners, torch.tensor([[1] * 4, [2] * 4]))
    assert torch.equal(rows, torch.tensor([[1, 2, 3, 1], [4, 5, 4, 4]]))
    assert present.sum(dim=1).tolist() == [3, 2]


def test_no_customers_rating_spoils_anothers_loss(settings, trainer, tools):
    """Under weights that make one customer's loss infinite, all others count as before."""
    case = tools.rating_customers()
    owner = torch.tensor([0] + [1] * 3 + [2] * 2)
    user, item = torch.tensor([0, 1, 1, 1, 2, 2]), torch.tensor([0, 1, 2, 3, 4, 5])
    rating = torch.zeros(6, dtype=torch.int64)

    def each(model, batch):
        user, item, rating, present = batch
        logits = model(user, item)
        wrong = torch.nn.functional.cross_entropy(logits.mT, rating, reduction="none") * present
        return wrong.sum(dim=1) / present.sum(dim=1)

    sums = []
    for first in (1.0, torch.inf):
        model = type(case.model)().float()
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
            model.user.weight[0] *= first
        units = UserBatches.of(owner, (user, item, rating), limit=8)
        made = settings(path="bookkeeping", sampling=SamplingPlan(1.0, 1, 3.0))
        private = trainer(tools.Case(model, units, each), made)
        sums.append(private.clipped_sum(torch.tensor([1, 2])))
    assert sums[0].norm() > 0
    assert torch.equal(sums[0], sums[1])
