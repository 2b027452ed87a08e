"""A running agent opens what was installed in another thread: whatever happens there, the watch goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from contracts.errors import BundleError
from edge.deploy.deployment import bundle_path, read_deployment
from edge.deploy.follow import Follower
from edge.deploy.site import Site
from edge.deploy.verbs import dismiss
from tests.edge.sites import eventful, loaded, names, put, ridden

OLD, NEW, THIRD = (f"gbt-realistic-{favourite:012x}" for favourite in range(3))


@pytest.fixture
def site(site: Site, bundles: list[Path]) -> Site:
    """One bundle is installed."""
    put(site, bundles[0])
    return site


FAULTS = {
    "AttributeError: gone": AttributeError("gone"),
    "MemoryError: all of it": MemoryError("all of it"),
    "of its own: odd; expected even; add one": BundleError("of its own", "odd", expected="even", remedy="add one"),
}


def raising(said: str) -> Callable[[], None]:
    def refused() -> None:
        raise FAULTS[said]

    return refused


@pytest.mark.parametrize("said", FAULTS)
def test_whatever_opening_a_new_bundle_raises_is_said_and_the_agent_goes_on_with_what_it_has(
    site: Site, bundles: list[Path], caplog: pytest.LogCaptureFixture, said: str
) -> None:
    where = eventful(site)
    models = Follower(where)
    where.on_opening[NEW] = raising(said)
    put(site, bundles[1])
    loaded(models)
    assert models.poll() is False
    assert (models.active.ref.name, ridden(models)) == (OLD, None)
    assert f"bundle {NEW} is given up for {OLD}: {said}" in caplog.text
    where.on_opening.clear()
    put(site, bundles[2])
    loaded(models)
    models.poll()
    loaded(models)
    models.poll()
    assert models.active.ref.name == THIRD
    models.close()


@pytest.mark.parametrize("said", FAULTS)
def test_whatever_opening_a_new_shadow_raises_is_said_and_the_agent_goes_on_without_it(
    site: Site, bundles: list[Path], caplog: pytest.LogCaptureFixture, said: str
) -> None:
    where = eventful(site)
    models = Follower(where)
    where.on_opening[THIRD] = raising(said)
    put(site, bundles[1])
    put(site, bundles[2], shadow=True)
    loaded(models)
    assert models.poll() is True
    assert (models.active.ref.name, ridden(models)) == (NEW, None)
    assert f"shadow {THIRD} does not ride along: {said}" in caplog.text
    models.close()


def test_whatever_the_loading_thread_raises_is_said_and_the_agent_goes_on_with_what_it_has(
    site: Site, bundles: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Follower(site)

    def broken(*_arguments: object) -> None:
        raise SystemExit("a mistake of our own")

    monkeypatch.setattr(models, "_load", broken)
    put(site, bundles[1])
    loaded(models)
    assert models.poll() is False
    assert models.active.ref.name == OLD
    assert f"{OLD} goes on: SystemExit: a mistake of our own" in caplog.text
    models.close()


def test_an_agent_goes_on_when_its_state_folder_turns_into_something_else(site: Site) -> None:
    models = Follower(site)
    site.folder.rename(site.folder.with_name("elsewhere"))
    site.folder.write_text("no folder")
    loaded(models)
    assert models.poll() is False
    models.window(late=False)
    assert models.active.ref.name == OLD
    models.close()


@pytest.mark.parametrize("shadow", [False, True])
def test_an_agent_tries_once_what_cannot_be_opened_until_it_is_installed_again(
    site: Site, bundles: list[Path], shadow: bool
) -> None:
    """A state that is written at every window wears out the card that it lies on."""
    where, tried = eventful(site), []

    def refused() -> None:
        tried.append(NEW)
        raise BundleError("it", "is odd", expected="even", remedy="add one")

    models = Follower(where)
    state = read_deployment(site.folder)
    assert state.current is not None
    bundle_path(site.folder, state.current).write_bytes(b"spoiled")  # nothing to return to
    where.on_opening[NEW] = refused
    for times in (1, 2):
        put(site, bundles[1], shadow=shadow)
        for _ in range(5):
            loaded(models)
            assert models.poll() is False
        assert len(tried) == times
    where.on_opening.clear()
    put(site, bundles[1], shadow=shadow)
    loaded(models)
    assert models.poll() is True
    models.close()


def while_the_current_one_opens(models: Follower, drop: Callable[[], None]) -> None:
    entered, dropped = Event(), Event()

    def opening() -> None:
        entered.set()
        assert dropped.wait(60)

    models._site.on_opening[NEW] = opening  # type: ignore[attr-defined]  # an Eventful one
    assert models.poll() is False
    assert entered.wait(60)
    drop()
    dropped.set()


def after_both_are_there(models: Follower, drop: Callable[[], None]) -> None:
    loaded(models)
    drop()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("moment", [while_the_current_one_opens, after_both_are_there])
def test_a_shadow_that_is_dropped_while_bundles_are_loaded_stays_dropped(
    site: Site, bundles: list[Path], moment: Callable[[Follower, Callable[[], None]], None], again: bool
) -> None:
    """again: it was installed once more, and its trial is to begin anew."""
    put(site, bundles[2], shadow=True)
    models = Follower(eventful(site))
    put(site, bundles[1])
    if again:
        put(site, bundles[2], shadow=True)
    moment(models, lambda: models.drop_shadow("it failed"))
    assert models.shadow is None
    loaded(models)
    assert models.poll() is True
    assert (models.active.ref.name, ridden(models)) == (NEW, None)
    assert names(read_deployment(site.folder)) == ["1", "0", None]
    put(site, bundles[2], shadow=True)  # unless somebody wants it back
    loaded(models)
    models.poll()
    loaded(models)
    models.poll()
    assert ridden(models) == THIRD
    models.close()


def test_a_shadow_that_replaces_one_that_is_dropped_meanwhile_rides_along(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[2], shadow=True)
    models = Follower(site)
    put(site, bundles[1], shadow=True)
    loaded(models)
    models.drop_shadow("it failed")
    assert models.poll() is True
    assert ridden(models) == NEW
    assert names(read_deployment(site.folder)) == ["0", None, "1"]
    dismiss(site.folder)
    loaded(models)
    models.poll()
    loaded(models)
    models.poll()
    assert ridden(models) is None
    models.close()
