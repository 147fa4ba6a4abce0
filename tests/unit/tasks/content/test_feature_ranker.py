"""Products by their features, and by themselves."""

import pytest
import torch

from securefl.privacy.dpsgd.book_keeping import supported_layers
from securefl.tasks.content.model import FeatureRanker
from securefl.tasks.content.settings import ContentSettings, HybridSettings

CODES = (
    torch.tensor([0, 0, 1, 1]),
    torch.tensor([0, 1, 2, 2]),
    torch.tensor([0, 1, 2, 3]),
    torch.tensor([0, 1, 0, 1]),
    torch.tensor([0, 0, 0, 1]),
    torch.tensor([1, 0, 1, 0]),
)
COLD = torch.tensor([False, False, False, True])


def ranker(settings):
    torch.manual_seed(0)
    model = FeatureRanker(settings, CODES, COLD).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        ContentSettings(rank=2, mapped=("category", "brand")),
        HybridSettings(rank=2, mapped=("kind", "product")),
        HybridSettings(rank=2, mapped=("kind",), popularity_taper=0.5),
    ],
)
def test_the_scores_are_what_the_formula_says(settings):
    model = ranker(settings)
    items, present = torch.tensor([[0, 1, 0]]), torch.tensor([[1.0, 1.0, 0.0]])
    codes = [*CODES, torch.arange(4)][: len(settings.groups)]
    profiles = [
        torch.bincount(code[[0, 1]], minlength=int(code.max()) + 1).div(2).sqrt() for code in codes
    ]
    mapped = [settings.groups.index(name) for name in settings.groups if name in settings.mapped]
    back = model.decode.weight @ (
        model.encode.weight @ torch.cat([profiles[place] for place in mapped])
    )
    maps = dict(zip(mapped, back.split([len(profiles[place]) for place in mapped]), strict=True))
    popular = (settings.popularity_step * model.popularity.weight[:, 0]).split(
        [len(profile) for profile in profiles]
    )
    expected = torch.zeros(4)
    for place, (code, profile) in enumerate(zip(codes, profiles, strict=True)):
        known = ~COLD if settings.groups[place] == "product" else torch.ones(4)
        scale = (len(profile) / 4) ** settings.popularity_taper
        said = scale * popular[place] + maps.get(place, torch.zeros(len(profile)))
        if place < len(CODES):
            said = said + model.repeat[place].weight.item() * profile
        expected = expected + known * said[code]
    torch.testing.assert_close(model(items, present)[0], expected)


def test_every_parameter_is_known_to_bookkeeping():
    model = ranker(HybridSettings(rank=2))
    owned = {id(p) for layer in supported_layers(model) for p in layer.parameters()}
    assert owned == {id(p) for p in model.parameters()}


def test_new_products_are_out_of_reach_while_known_ones_are_learned_from():
    model = ranker(HybridSettings(rank=2))
    scores = model.scores_of_known(torch.tensor([[0, 1]]), torch.ones(1, 2))
    assert scores[0, 3] < scores[0, :3].min() - 1000


def test_products_are_known_by_features_alone_for_a_part_of_the_steps():
    model = ranker(HybridSettings(rank=2, mapped=("product",), id_dropout=0.5)).train()
    history = torch.tensor([[0, 1]]), torch.ones(1, 2)
    torch.nn.init.zeros_(model.popularity.weight)
    for gain in model.repeat.parameters():
        torch.nn.init.zeros_(gain)
    found = torch.cat([model(*history) for _ in range(400)])
    assert 0.4 < float((found[:, :3] == 0).float().mean()) < 0.6
    assert (model.eval()(*history)[:, :3] != 0).all()
