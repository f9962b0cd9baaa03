"""The encoder's serving side against its training side, and what histories may look like."""

from __future__ import annotations

import numpy as np
import torch

from models.encoder import HistoryEncoder, normalise
from models.encoding import gap_bucket
from models.gaps import gap_buckets
from models.network import EncoderNetwork, initial_parameters
from models.sequences import Histories, Pieces, pad

LENGTH, TYPES, ITEMS, SIZE = 7, 4, 30, 16


def random_parameters(seed: int) -> dict[str, np.ndarray]:
    """Parameters in which nothing is zero or one, so that no term can hide."""
    rng = np.random.default_rng(seed)
    shapes = initial_parameters(dimensions=SIZE, heads=2, length=LENGTH, inner=24, types=TYPES, seed=0)
    return {name: rng.normal(0.1, 0.5, array.shape).astype(np.float32) for name, array in shapes.items()}


def random_histories(seed: int, lengths: list[int]) -> Histories:
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    return Histories(
        rows=rng.integers(0, ITEMS, total),
        types=rng.integers(0, TYPES, total),
        times=np.cumsum(10 ** rng.integers(0, 9, total)),
        starts=np.concatenate(([0], np.cumsum(lengths))),
        weights=np.ones(total, np.float32),
    )


def test_numpy_and_torch_give_the_same_user_vectors() -> None:
    """Folded matrices over the last position equal the whole block's output at that position, to 1e-5."""
    lengths = [1, 2, 7, 5, 3]
    histories = random_histories(1, lengths)
    parameters = random_parameters(2)
    vectors = normalise(np.random.default_rng(3).normal(size=(ITEMS, SIZE)))
    one_more = histories._replace(
        weights=np.ones(sum(lengths) + 1, np.float32)
    )  # whole histories ask for what is to come
    log = one_more._replace(rows=np.append(histories.rows, 0), types=np.append(histories.types, 0))
    batch = pad(log, Pieces(histories.starts[:-1], histories.starts[:-1], histories.starts[1:]))
    network = EncoderNetwork(parameters, dropout=0.5).eval()
    intents = np.random.default_rng(7).integers(0, TYPES, len(lengths))
    everywhere_asked = np.repeat(intents[:, None], batch.rows.shape[1], axis=1)
    parts = (torch.from_numpy(part) for part in (batch.types, batch.gaps, batch.spans, everywhere_asked))
    with torch.no_grad():
        everywhere = network(torch.from_numpy(vectors[batch.rows]), *parts).numpy()
    expected = everywhere[np.arange(len(lengths)), np.array(lengths) - 1]
    found = HistoryEncoder(parameters, vectors).encode(*histories[:4], intents)
    assert np.abs(found - expected).max() < 1e-5
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_a_list_of_users_is_encoded_as_each_alone() -> None:
    """Batching changes nothing, to the last bit."""
    histories = random_histories(4, [3, 7, 1, 12])
    encoder = HistoryEncoder(random_parameters(5), normalise(np.random.default_rng(6).normal(size=(ITEMS, SIZE))))
    together = encoder.encode(*histories[:4])
    for user, (start, end) in enumerate(zip(histories.starts, histories.starts[1:], strict=False)):
        alone = encoder.encode(
            histories.rows[start:end],
            histories.types[start:end],
            histories.times[start:end],
            np.array([0, end - start]),
        )
        assert np.array_equal(alone[0], together[user])


def test_unknown_items_are_passed_over_and_only_the_newest_events_count() -> None:
    """A history with unknown items equals the one without them; of a long one only the last events matter."""
    encoder = HistoryEncoder(random_parameters(7), normalise(np.random.default_rng(8).normal(size=(ITEMS, SIZE))))
    rows = np.array([5, -1, 6, 7, -1])
    types, times = np.zeros(5, np.int64), np.array([0, 10, 20, 30, 40]) * 1_000
    known = rows >= 0
    with_unknown = encoder.encode(rows, types, times, np.array([0, 5]))
    assert np.allclose(
        with_unknown, encoder.encode(rows[known], types[known], times[known], np.array([0, 3])), atol=1e-7
    )
    long = random_histories(9, [LENGTH + 4])
    newest = encoder.encode(long.rows[4:], long.types[4:], long.times[4:], np.array([0, LENGTH]))
    assert np.array_equal(encoder.encode(*long[:4]), newest)


def test_both_sides_agree_on_the_bucket_of_a_gap() -> None:
    """At and around every power of two, before zero, and far out."""
    around = [1_000 * (2**power + step) - 1_000 for power in range(30) for step in (-1, 0, 1)]
    for gap in [*around, -5, 999, 1_999, 10**15]:
        assert gap_bucket(gap) == gap_buckets(np.array([gap]))[0]


def test_a_history_without_a_known_item_has_the_zero_vector() -> None:
    """Empty and unknown histories are answered, with nothing."""
    encoder = HistoryEncoder(random_parameters(9), normalise(np.random.default_rng(10).normal(size=(ITEMS, SIZE))))
    starts = np.array([0, 0, 2, 3])
    found = encoder.encode(np.array([-1, -1, 4]), np.zeros(3, np.int64), np.zeros(3, np.int64), starts)
    assert not found[:2].any()
    assert found[2].any()


def test_arrays_bring_the_same_encoder_back() -> None:
    """arrays() and from_arrays() are inverse."""
    vectors = normalise(np.random.default_rng(11).normal(size=(ITEMS, SIZE)))
    encoder = HistoryEncoder(random_parameters(12), vectors)
    again = HistoryEncoder.from_arrays(encoder.arrays(), vectors)
    histories = random_histories(13, [4, 6])
    assert np.array_equal(encoder.encode(*histories[:4]), again.encode(*histories[:4]))


def test_an_intent_is_added_before_the_last_normalisation() -> None:
    """q = normalise(u + w): with u the vector of no intent."""
    histories, parameters = random_histories(12, [4]), random_parameters(13)
    parameters["intents"][0] = 0.0
    vectors = normalise(np.random.default_rng(14).normal(size=(ITEMS, SIZE)))
    plain = HistoryEncoder(parameters, vectors).encode(*histories[:4])[0]
    only_intent = {**parameters, "norm3": np.zeros_like(parameters["norm3"])}  # h = 0
    assert np.allclose(
        HistoryEncoder(only_intent, vectors).encode(*histories[:4], np.array([2]))[0],
        normalise(parameters["intents"][2:3])[0],
        atol=1e-6,
    )
    turned = HistoryEncoder(parameters, vectors).encode(*histories[:4], np.array([2]))[0]
    assert np.allclose(turned, normalise((plain + parameters["intents"][2])[None])[0], atol=1e-6)


def test_parameters_of_before_there_were_intents_add_nothing() -> None:
    """An older artifact's encoder gives the same vector whatever is asked for, and nothing counts as asked for."""
    histories, parameters = random_histories(15, [4, 2]), random_parameters(16)
    del parameters["intents"]
    encoder = HistoryEncoder(parameters, normalise(np.random.default_rng(17).normal(size=(ITEMS, SIZE))))
    assert np.array_equal(encoder.encode(*histories[:4]), encoder.encode(*histories[:4], np.array([2, 1])))
    assert encoder.arrays()["intents"].shape == (TYPES, SIZE)
    assert not encoder.asked_for.any()
