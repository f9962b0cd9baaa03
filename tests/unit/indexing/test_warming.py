"""The kernels are compiled ahead for the very arrays that serving hands them."""

from __future__ import annotations

from indexing import kernels, list_text, lists, source_kernels, union
from indexing.warming import compile_kernels
from stream.knowledge.serving import LivePopularity, Serving
from stream.wire.messages import Item
from tests.worlds import catalogue_of, clicked, random_sessions, small_snapshot


def test_serving_compiles_nothing_that_was_not_compiled_ahead() -> None:
    """After warming, lists with new items and without bring no new signature to any kernel."""
    compiled = [
        union.join,
        source_kernels.session_neighbours,
        source_kernels.covisited,
        kernels.count_neighbours,
        lists.best_of_lists,
        lists.explorable,
        list_text.place,
        list_text.round_off,
        list_text.write,
        kernels.nearest,
        kernels.settle,
    ]
    compile_kernels()
    before = [kernel.signatures for kernel in compiled]
    snapshot = small_snapshot(random_sessions(30, 60, seed=1), 30)
    catalogue = catalogue_of()
    serving = Serving(snapshot, catalogue, LivePopularity())
    serving.recommend([clicked("i1"), clicked("i2", "i3", explain=True)])
    catalogue.apply(0, 0, "fresh", Item("fresh", title="topic1 thing"))
    serving.item_changed("fresh")
    serving.recommend([clicked("i1"), clicked("fresh")])[0].lists.texts()
    serving.similar("i1", 5)
    assert [kernel.signatures for kernel in compiled] == before
