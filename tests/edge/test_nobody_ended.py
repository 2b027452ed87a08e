"""What nobody ended by is held against nobody: a change under a running agent, and an agent that ends in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from edge.deploy.deployment import bundle_path, read_deployment
from edge.deploy.follow import Follower
from edge.deploy.site import Site
from edge.deploy.trial import STARTS, WINDOWS
from edge.deploy.verbs import rollback
from tests.edge.sites import eventful, loaded, names, put, ridden, strikes

OLD, NEW, THIRD = (f"gbt-realistic-{favourite:012x}" for favourite in range(3))


@pytest.fixture
def site(site: Site, bundles: list[Path]) -> Site:
    """One bundle is installed."""
    put(site, bundles[0])
    return site


def test_a_running_agent_keeps_a_new_shadow_when_a_new_bundle_takes_over(
    site: Site, bundles: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    put(site, bundles[2], shadow=True)
    models = Follower(site)
    put(site, bundles[1])
    loaded(models)
    assert models.poll()
    assert (models.active.ref.name, ridden(models)) == (NEW, THIRD)
    assert names(read_deployment(site.folder)) == ["1", "0", "2"]
    assert "dismissed" not in caplog.text
    models.close()


def test_a_shadow_is_still_dismissed_by_the_agent_that_starts_after_one_was_killed(
    site: Site, bundles: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    put(site, bundles[2], shadow=True)
    killed = Follower(site)  # and never closed
    models = Follower(site)
    assert models.shadow is None
    assert f"shadow {THIRD} is dismissed: an agent ended while it was new" in caplog.text
    assert strikes(site) == [1]
    models.close()
    killed._pool.shutdown()


def test_a_running_agent_that_is_sent_to_and_fro_gives_no_bundle_up(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[1])
    models = Follower(site)
    for _ in range(2 * STARTS + 1):
        rollback(site)
        loaded(models)
        models.poll()
        assert models.active.ref.name[-1] == names(read_deployment(site.folder))[0]
    assert sorted(strikes(site)) == [0, 1]  # what it has in hand
    models.close()
    assert strikes(site) == [0, 0]
    assert read_deployment(site.folder).returned is None


def test_an_agent_that_ends_in_order_before_it_takes_a_rollback_counts_for_nothing(
    site: Site, bundles: list[Path]
) -> None:
    put(site, bundles[1])
    models = Follower(site)
    rollback(site)
    models.close()
    assert strikes(site) == [0, 0]


def test_a_running_agent_that_goes_on_with_a_bundle_counts_it_once(site: Site, bundles: list[Path]) -> None:
    """The one that was to take over cannot be opened: the agent returns to what it never left."""
    models = Follower(site)
    state = put(site, bundles[1])
    assert state.current is not None
    bundle_path(site.folder, state.current).write_bytes(b"spoiled on its way to the disk")
    for _ in range(3):
        loaded(models)
        models.poll()
    assert models.active.ref.name == OLD
    assert names(read_deployment(site.folder)) == ["0", None, None]
    assert strikes(site) == [1]
    models.close()
    assert strikes(site) == [0]


def test_a_bundle_that_is_proven_while_another_is_about_to_take_over_stays_proven(
    site: Site, bundles: list[Path]
) -> None:
    models = Follower(site)
    put(site, bundles[1])
    for _ in range(WINDOWS):
        models.window(late=False)
    state = rollback(site)[1]
    assert state.current is not None
    assert (state.current.name, state.current.proven, state.current.starts) == (OLD, True, 0)
    models.close()


def test_a_bundle_that_is_installed_again_counts_the_agent_that_has_it_in_hand(site: Site, bundles: list[Path]) -> None:
    models = Follower(site)
    put(site, bundles[0])
    loaded(models)
    models.poll()
    assert strikes(site) == [1]
    models.close()
    assert strikes(site) == [0]


def test_a_shadow_that_could_not_be_opened_ended_nobody(
    site: Site, bundles: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    state = put(site, bundles[2], shadow=True)
    assert state.shadow is not None
    path = bundle_path(site.folder, state.shadow)
    whole = path.read_bytes()
    path.write_bytes(b"spoiled")
    Follower(site).close()
    assert f"shadow {THIRD} does not ride along: " in caplog.text
    assert strikes(site) == [0, 0]
    path.write_bytes(whole)
    models = Follower(site)
    assert ridden(models) == THIRD
    models.close()


def test_a_proven_shadow_stays_proven_when_its_agent_ends_after_a_window(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[2], shadow=True)
    for windows in (WINDOWS, 1):
        models = Follower(site)
        for _ in range(windows):
            models.window(late=False)
        models.close()
        shadow = read_deployment(site.folder).shadow
        assert shadow is not None
        assert (shadow.proven, shadow.starts) == (True, 0)


def never(_models: Follower, _hold: Event) -> None:
    """The agent does not look before it ends."""


def pending(models: Follower, hold: Event) -> None:
    """The loading thread has other work, and the end comes first."""
    models._pool.submit(hold.wait, 60)
    assert models.poll() is False
    assert models._loading is not None
    models._loading.add_done_callback(lambda _: hold.set())


def running(models: Follower, hold: Event) -> None:
    """The end comes while a bundle is being opened."""
    entered, shutdown = Event(), models._pool.shutdown

    def opening() -> None:
        entered.set()
        assert hold.wait(60)

    def ending(wait: bool = True, *, cancel_futures: bool = False) -> None:
        hold.set()
        shutdown(wait, cancel_futures=cancel_futures)

    models._site.on_opening[NEW] = opening  # type: ignore[attr-defined]  # an Eventful one
    models._pool.shutdown = ending  # type: ignore[method-assign]  # the moment at which the end waits
    assert models.poll() is False
    assert entered.wait(60)


def finished(models: Follower, _hold: Event) -> None:
    """Both were opened, and nobody took them."""
    loaded(models)


def half(models: Follower, _hold: Event) -> None:
    """The current one was opened; the shadow broke something that nobody thought of."""
    models._site.on_opening[THIRD] = lambda: [][1]  # type: ignore[attr-defined]  # an Eventful one
    loaded(models)


def failed(models: Follower, _hold: Event) -> None:
    """Neither could be opened, for a reason that nobody thought of."""
    for name in (NEW, THIRD):
        models._site.on_opening[name] = lambda: [][1]  # type: ignore[attr-defined]  # an Eventful one
    loaded(models)


@pytest.mark.parametrize("moment", [never, pending, running, finished, half, failed])
def test_an_agent_that_ends_in_order_before_it_takes_what_was_installed_counts_for_nothing(
    site: Site, bundles: list[Path], moment: Callable[[Follower, Event], None]
) -> None:
    models = Follower(eventful(site))
    put(site, bundles[1])
    put(site, bundles[2], shadow=True)
    moment(models, Event())
    models.close()
    state = read_deployment(site.folder)
    assert names(state) == (["0", None, "2"] if moment is failed else ["1", "0", "2"])
    assert strikes(site) == [0] * len(strikes(site))
    again = Follower(site)
    assert (again.active.ref.name, ridden(again)) == (OLD if moment is failed else NEW, THIRD)
    again.close()


def stopped() -> None:
    """As by `systemctl stop`, or Ctrl-C."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", [OLD, THIRD])
def test_an_agent_that_is_stopped_while_it_opens_its_bundles_counts_for_nothing(
    site: Site, bundles: list[Path], name: str
) -> None:
    put(site, bundles[2], shadow=True)
    where = eventful(site)
    where.on_opening[name] = stopped
    with pytest.raises(KeyboardInterrupt):
        Follower(where)
    assert strikes(site) == [0, 0]
