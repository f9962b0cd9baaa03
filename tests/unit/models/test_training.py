"""Training learns planted structure, only touches what it should, and gives the same again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.encoder import HistoryEncoder
from models.features import PRICE_BUCKETS, ItemContent, featurise
from models.losses import listwise_softmax, sampled_softmax
from models.network import initial_parameters
from models.optimiser import RowAdam
from models.ranker import Ranker
from models.ranker_training import fit_ranker
from models.sequences import Histories
from models.tower import ItemTower
from models.training import Fitted, NegativeSampler, fit

SIZE, BUCKETS = 16, 1_024


@dataclass(frozen=True)
class Small:
    """Settings for a minute's worth of items."""

    length: int = 8
    dropout: float = 0.0
    id_dropout: float = 0.0
    negatives: int = 32
    negatives_power: float = 0.5
    temperature: float = 0.07
    batch_events: int = 64
    learning_rate: float = 0.01
    row_learning_rate: float = 0.05


def cycles(users: int, length: int, items: int) -> Histories:
    """Users walk 0 -> 1 -> 2 ... -> 0, each from a place of its own."""
    rows = np.concatenate([(np.arange(length) + user) % items for user in range(users)])
    total = len(rows)
    starts = np.arange(0, total + 1, length)
    return Histories(rows, np.zeros(total, np.int64), np.arange(total) * 1_000, starts, np.ones(total, np.float32))


def untrained(items: int, seed: int = 0) -> tuple[dict[str, np.ndarray], ItemTower]:
    rng = np.random.default_rng(seed)
    encoder = initial_parameters(dimensions=SIZE, heads=2, length=8, inner=32, types=2, seed=seed)
    tables = (rng.normal(0, 0.1, (rows, SIZE)) for rows in (items, BUCKETS, PRICE_BUCKETS))
    identities, tokens, prices = tables
    return encoder, ItemTower(identities, tokens, prices, halfway=1.0)


def trained(items: int = 6, seed: int = 1) -> Fitted:
    encoder, tower = untrained(items)
    features = featurise([ItemContent()] * items, BUCKETS)
    counts = np.full(items, 40)
    return fit(encoder, tower, cycles(40, 7, items), features, counts, settings=Small(), epochs=6, seed=seed)


def test_a_planted_cycle_is_learned() -> None:
    """After A comes B, after B comes C, ...: the right next item is the nearest one for every prefix."""
    items = 6
    result = trained(items)
    vectors = result.tower.encode_items(np.full(items, 40), featurise([ItemContent()] * items, BUCKETS))
    log = cycles(items, 4, items)
    users = HistoryEncoder(result.encoder, vectors).encode(*log[:4])
    assert (users @ vectors.T).argmax(axis=1).tolist() == [(user + 4) % items for user in range(items)]
    assert result.losses[-1] < result.losses[0]


def test_one_history_is_followed_by_what_is_asked_for() -> None:
    """After item 0 users click 1 and buy 2: asked with a click's intent 1 is the nearest, with a purchase's 2."""
    rows, types = np.tile([0, 1, 0, 2], 300), np.tile([0, 0, 0, 1], 300)
    starts, weights = np.arange(0, 1_201, 2), np.tile([0, 1], 600).astype(np.float32)
    log = Histories(rows, types, np.arange(1_200) * 1_000, starts, weights)
    encoder, tower = untrained(3)
    features, counts = featurise([ItemContent()] * 3, BUCKETS), np.full(3, 40)
    result = fit(encoder, tower, log, features, counts, settings=Small(), epochs=6, seed=1)
    vectors = result.tower.encode_items(counts, features)
    asked = (np.array([0, 0]), np.array([0, 0]), np.array([0, 0]), np.array([0, 1, 2]))
    users = HistoryEncoder(result.encoder, vectors).encode(*asked, np.array([0, 1]))
    assert (users @ vectors.T).argmax(axis=1).tolist() == [1, 2]


def test_the_intent_of_a_type_that_is_no_target_stays_zero() -> None:
    """Nothing was learned of type 1: whoever asks for it gets what was learned of the other."""
    result = trained()
    asked_for = HistoryEncoder(result.encoder, result.tower.identities).asked_for
    assert asked_for.tolist() == [True, False]


@pytest.mark.parametrize("heavy", [1, 2])
def test_the_heavier_of_two_targets_is_the_nearer(heavy: int) -> None:
    """After item 0 come 1 and 2 equally often, events of one type; the one of five times the weight is nearest."""
    rows, times, starts = np.tile([0, 1, 0, 2], 300), np.arange(1_200) * 1_000, np.arange(0, 1_201, 2)
    weights = np.where(rows == heavy, 5.0, np.where(rows == 0, 0.0, 1.0)).astype(np.float32)
    log = Histories(rows, np.zeros(1_200, np.int64), times, starts, weights)
    encoder, tower = untrained(3)
    features, counts = featurise([ItemContent()] * 3, BUCKETS), np.full(3, 40)
    result = fit(encoder, tower, log, features, counts, settings=Small(), epochs=6, seed=1)
    vectors = result.tower.encode_items(counts, features)
    asked = (np.array([0]), np.array([0]), np.array([0]), np.array([0, 1]))
    assert (HistoryEncoder(result.encoder, vectors).encode(*asked) @ vectors.T).argmax() == heavy


def test_without_a_rate_nothing_is_learned() -> None:
    """`rate` is a share of both learning rates: at none of them everything stays where it was."""
    encoder, tower = untrained(6)
    features, counts = featurise([ItemContent()] * 6, BUCKETS), np.full(6, 40)
    result = fit(encoder, tower, cycles(20, 8, 6), features, counts, settings=Small(), epochs=1, seed=1, rate=0.0)
    assert all(np.array_equal(result.encoder[name], encoder[name]) for name in encoder)
    assert np.array_equal(result.tower.identities, tower.identities)


def test_one_seed_gives_one_result_and_another_seed_another() -> None:
    """Bit for bit."""
    first, second, other = trained(), trained(), trained(seed=2)
    assert all(np.array_equal(first.encoder[name], second.encoder[name]) for name in first.encoder)
    assert np.array_equal(first.tower.identities, second.tower.identities)
    assert first.losses == second.losses
    assert not np.array_equal(first.tower.identities, other.tower.identities)


def test_two_threads_give_the_same_result_again() -> None:
    """Batches large enough to be shared among threads: gradients are added up in one order, whoever comes first."""
    encoder, tower = untrained(500)
    features, counts = (
        featurise([ItemContent(title=f"thing {row % 7}") for row in range(500)], BUCKETS),
        np.full(500, 9),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        settings = Small(batch_events=2_048, negatives=512, dropout=0.1, id_dropout=0.1)
        histories = cycles(400, 24, 500)
        fits = [fit(encoder, tower, histories, features, counts, settings=settings, epochs=2, seed=5) for _ in range(4)]
    finally:
        torch.set_num_threads(threads)
    assert len({one.tower.identities.tobytes() for one in fits}) == 1
    assert len({one.encoder["query"].tobytes() for one in fits}) == 1


def test_training_leaves_its_arguments_and_the_random_state_alone() -> None:
    """fit works on copies, and whoever draws from torch next is not disturbed."""
    encoder, tower = untrained(6)
    before, identities, state = encoder["query"].copy(), tower.identities.copy(), torch.random.get_rng_state()
    fit(
        encoder,
        tower,
        cycles(3, 5, 6),
        featurise([ItemContent()] * 6, BUCKETS),
        np.ones(6, int),
        settings=Small(),
        epochs=1,
        seed=0,
    )
    assert np.array_equal(encoder["query"], before)
    assert np.array_equal(tower.identities, identities)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_nothing_to_train_on_changes_nothing() -> None:
    """Users with one event, or targets of no weight: no step, no loss."""
    encoder, tower = untrained(3)
    alone = Histories(*(np.zeros(1, np.int64),) * 3, np.array([0, 1]), np.ones(1, np.float32))
    result = fit(
        encoder,
        tower,
        alone,
        featurise([ItemContent()] * 3, BUCKETS),
        np.ones(3, int),
        settings=Small(),
        epochs=2,
        seed=0,
    )
    assert result.losses == []
    assert np.array_equal(result.tower.identities, tower.identities)


def test_one_item_alone_can_be_trained() -> None:
    """All negatives are hits and are masked: the loss is zero, and finite."""
    encoder, tower = untrained(1)
    result = fit(
        encoder,
        tower,
        cycles(2, 4, 1),
        featurise([ItemContent()], BUCKETS),
        np.ones(1, int),
        settings=Small(),
        epochs=1,
        seed=0,
    )
    assert result.losses == [0.0]


def test_rows_that_nobody_touched_keep_their_bytes() -> None:
    """Only inputs, targets and negatives move: item 5 has no event, so it is none of them."""
    encoder, tower = untrained(6)
    counts = np.array([9, 9, 9, 9, 9, 0])
    features = featurise([ItemContent()] * 6, BUCKETS)
    result = fit(encoder, tower, cycles(9, 6, 5), features, counts, settings=Small(), epochs=1, seed=0)
    assert np.array_equal(result.tower.identities[5], tower.identities[5])
    assert not np.array_equal(result.tower.identities[4], tower.identities[4])


def test_words_of_items_are_learned_and_carry_over_to_unseen_items() -> None:
    """Item 6 shares its words with item 0 and has no event: where item 0 comes next, these two are the nearest."""
    items = 6
    encoder, tower = untrained(items + 1)
    contents = [ItemContent(f"kind{number}") for number in range(items)] + [ItemContent("kind0")]
    features = featurise(contents, BUCKETS)
    counts = np.array([40] * items + [0])
    settings = Small(id_dropout=0.5)
    result = fit(encoder, tower, cycles(40, 7, items), features, counts, settings=settings, epochs=6, seed=1)
    vectors = result.tower.encode_items(counts, features)
    log = cycles(items, 4, items)
    users = HistoryEncoder(result.encoder, vectors).encode(*log[:4])
    before_zero = (items - 4) % items  # the user whose next item is item 0
    scores = vectors @ users[before_zero]
    assert set(np.argsort(-scores)[:2].tolist()) == {0, items}


def test_sampled_softmax_by_hand() -> None:
    """One query, cosine 1 with its item, 0 with one negative expected twice; the other negative is a hit."""
    users = torch.tensor([[1.0, 0.0]])
    negatives = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = sampled_softmax(
        users,
        users,
        negatives,
        log_expected=torch.tensor([math.log(2.0), 0.0]),
        hits=torch.tensor([[False, True]]),
        temperature=1.0,
    )
    assert loss.item() == pytest.approx(math.log(math.e + 1 / 2) - 1)


def test_sampled_softmax_with_every_item_once_is_the_full_softmax() -> None:
    """With each other item expected exactly once, the sum over the sample is the sum over the catalogue."""
    generator = torch.Generator().manual_seed(0)
    items = torch.nn.functional.normalize(torch.randn(9, 4, generator=generator), dim=1)
    users = torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=1)
    targets = torch.tensor([0, 3, 8, 3, 1])
    hits = targets[:, None] == torch.arange(9)
    found = sampled_softmax(users, items[targets], items, log_expected=torch.zeros(9), hits=hits, temperature=0.1)
    expected = torch.nn.functional.cross_entropy(users @ items.T / 0.1, targets, reduction="none")
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_written_gradient_of_the_sampled_softmax_is_the_gradient() -> None:
    """Against finite differences, in double precision, with a hit and without any negative."""
    generator = torch.Generator().manual_seed(1)
    users, positives, negatives = (
        torch.randn(rows, 3, generator=generator, dtype=torch.float64).requires_grad_() for rows in (4, 4, 5)
    )
    log_expected = torch.randn(5, generator=generator, dtype=torch.float64)
    hits = torch.zeros(4, 5, dtype=torch.bool)
    hits[1, 2] = True
    for few in (5, 0):

        def loss(*vectors: torch.Tensor, few: int = few) -> torch.Tensor:
            users, positives, negatives = vectors
            return sampled_softmax(
                users,
                positives,
                negatives[:few],
                log_expected=log_expected[:few],
                hits=hits[:, :few],
                temperature=0.5,
            )

        assert torch.autograd.gradcheck(loss, (users, positives, negatives))


def test_negatives_come_as_often_as_they_say() -> None:
    """Counts 1, 4, 0, 9 with power 1/2: shares 1/6, 2/6, 0, 3/6, and the expected numbers are these times the size."""
    sampler = NegativeSampler(np.array([1, 4, 0, 9]), 60_000, 0.5)
    rows, log_expected = sampler.draw(np.random.default_rng(0))
    shares = np.bincount(rows, minlength=4) / len(rows)
    assert np.allclose(shares, [1 / 6, 2 / 6, 0, 3 / 6], atol=0.01)
    assert np.allclose(np.exp(log_expected.numpy()), 60_000 * np.array([1 / 6, 2 / 6, 0, 3 / 6])[rows], rtol=1e-4)


def test_listwise_softmax_by_hand() -> None:
    """Lists (0, log 3) and (5): losses log(1 + 3) for the first's first, 0 for the other; the mean by weight."""
    scores, lists, right = torch.tensor([0.0, math.log(3.0), 5.0]), torch.tensor([0, 0, 1]), torch.tensor([0, 2])
    assert listwise_softmax(scores, lists, right, torch.ones(2)).item() == pytest.approx(math.log(4.0) / 2)
    weighted = listwise_softmax(scores, lists, right, torch.tensor([1.0, 3.0]))
    assert weighted.item() == pytest.approx(math.log(4.0) / 4)


def test_row_adam_moves_each_row_like_adam_with_one_scale_a_row() -> None:
    """The first step moves a row by the rate times its gradient over the gradient's root mean square."""
    table = RowAdam(np.zeros((3, 2)))
    rows = torch.tensor([1])
    leaf = table.leaf(rows)
    leaf.grad = torch.tensor([[3.0, 4.0]])
    table.step(rows, leaf, 0.1)
    deviation = math.sqrt((9 + 16) / 2)
    assert torch.allclose(table.table[1], torch.tensor([-0.3, -0.4]) / deviation)
    assert not table.table[[0, 2]].any()


def test_the_ranker_learns_which_feature_is_worth_something() -> None:
    """The right candidate has the highest second feature, the first is noise: it ends up on top nearly always."""
    rng = np.random.default_rng(0)
    lists, size = 300, 10
    features = rng.normal(size=(lists * size, 3)).astype(np.float32)
    starts = np.arange(0, lists * size + 1, size)
    positives = starts[:-1] + features[:, 1].reshape(lists, size).argmax(axis=1)
    start = Ranker.untrained(np.array([1.0, 0.0, 0.0]))
    fitted, loss = fit_ranker(
        start, features, starts, positives, np.ones(lists, np.float32), epochs=20, rate=0.02, seed=0
    )
    best = fitted.score(features).reshape(lists, size).argmax(axis=1) + starts[:-1]
    assert (best == positives).mean() > 0.95
    assert loss < math.log(size)
    assert fitted.trained
    assert not start.trained


def test_the_ranker_begins_where_the_untrained_one_stood() -> None:
    """Standardising on the first fit changes no order: with a rate of zero the ranking stays."""
    rng = np.random.default_rng(1)
    features = rng.normal(3.0, 2.0, size=(40, 4)).astype(np.float32)
    start = Ranker.untrained(np.array([1.0, -2.0, 0.5, 0.0]))
    lists = (np.array([0, 20, 40]), np.array([3, 25]), np.ones(2, np.float32))
    fitted, _ = fit_ranker(start, features, *lists, epochs=1, rate=0.0, seed=0)
    assert np.argsort(fitted.score(features)).tolist() == np.argsort(start.score(features)).tolist()


def test_a_ranker_without_any_right_candidate_stays_as_it_is() -> None:
    """Lists in which the target was not found teach nothing."""
    start = Ranker.untrained(np.ones(2))
    lists = (np.array([0, 4]), np.array([-1]), np.ones(1, np.float32))
    same, loss = fit_ranker(start, np.ones((4, 2), np.float32), *lists, epochs=1, rate=0.1, seed=0)
    assert same is start
    assert math.isnan(loss)


def test_the_ranker_listens_to_heavy_lists() -> None:
    """Half of the lists say the first feature, half the second: the heavier half decides between two candidates."""
    lists = 200
    features = np.tile(np.eye(2, dtype=np.float32), (lists, 1))  # candidate 0 has feature 0, candidate 1 feature 1
    starts = np.arange(lists + 1) * 2
    positives = starts[:-1] + np.arange(lists) % 2
    for heavy in (0, 1):
        weights = np.where(np.arange(lists) % 2 == heavy, 5.0, 1.0).astype(np.float32)
        fitted, _ = fit_ranker(
            Ranker.untrained(np.zeros(2)), features, starts, positives, weights, epochs=20, rate=0.02, seed=0
        )
        assert fitted.score(features[:2]).argmax() == heavy
