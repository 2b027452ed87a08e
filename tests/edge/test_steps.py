"""Whatever is installed, in whatever order, under an agent that is never killed: its bundles stay as people chose."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ConfigError
from edge.deploy.deployment import Deployment, Installed, read_deployment
from edge.deploy.follow import Follower
from edge.deploy.site import Site
from edge.deploy.trial import begin
from edge.deploy.verbs import dismiss, promote, rollback
from edge.model.opened import Active
from tests.edge.sites import loaded, names, put, strikes


@dataclass(frozen=True, kw_only=True)
class Remembering(Site):
    """Opens each bundle once: a hundred machines are tried here."""

    opened: dict[str, Active] = field(default_factory=dict)

    def active(self, installed: Installed) -> Active:
        if installed.digest not in self.opened:
            self.opened[installed.digest] = super().active(installed)
        return self.opened[installed.digest]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["install", "shadow"]), st.integers(0, 2)),
        st.tuples(st.sampled_from(["rollback", "promote", "dismiss", "look", "take", "window", "restart"]), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_installed_under_an_agent_that_ends_in_order_no_bundle_is_given_up_or_keeps_a_strike(
    site: Site, bundles: list[Path], steps: list[tuple[str, int]]
) -> None:
    opened: dict[str, Active] = {}
    with tempfile.TemporaryDirectory() as folder:
        where = Remembering(
            folder=Path(folder), schema=site.schema, trust_folder=site.trust_folder, opened=opened
        )  # fmt: skip
        decided = put(where, bundles[0])
        models = Follower(where)
        verbs: dict[str, Callable[[int], Deployment]] = {
            "install": lambda which: put(where, bundles[which]),
            "shadow": lambda which: put(where, bundles[which], shadow=True),
            "rollback": lambda _: rollback(where)[1],
            "promote": lambda _: promote(where)[1],
            "dismiss": lambda _: dismiss(where.folder),
        }
        for step, which in steps:
            if step in verbs:
                try:
                    decided = verbs[step](which)
                except ConfigError:
                    continue  # there is nothing to return to, say
            elif step == "window":
                models.window(late=False)
            elif step == "restart":
                models.close()
                models = Follower(where)
            else:
                loaded(models)
                if step == "take":
                    models.poll()
            assert names(read_deployment(where.folder)) == names(decided)
        models.close()
        state = read_deployment(where.folder)
        assert strikes(where) == [0] * len(strikes(where))
        assert state.returned is None
        assert names(state) == names(decided)
        current, _ = begin(where)
        assert current.ref.name[-1] == names(decided)[0]
