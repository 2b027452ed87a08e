"""What `trainer describe` says is true, and its page stands alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.brokers import program
from trainer.dataset.dataset import Dataset
from trainer.dataset.describe import describe, stability_index
from trainer.evaluate.alone import judge
from trainer.report.description import print_description, worst_drift, write_page


def test_describe_counts_what_is_there(dataset: Dataset) -> None:
    found, ids = describe(dataset), dataset.load_ids()
    assert found.windows == 964
    assert found.episodes == sum(found.episodes_by_host.values()) == 21
    assert sum(found.by_phase.values()) == 964
    assert found.by_host["arm-1"]["armed"] == np.count_nonzero((ids.host_id == "arm-1") & (ids.y == 1))
    assert found.by_profile["cpu-saturate"]["arm-1"] == 0
    assert found.pure == pytest.approx(np.mean(ids.purity >= 1 - 1e-6))


def test_describe_measures_channels_as_a_plain_loop_does(dataset: Dataset) -> None:
    found, whole = describe(dataset), dataset.load_tensor()
    means = dataset.load_summary()
    for i in (0, 7, 40):
        facts = found.channels[i]
        assert facts.observed == pytest.approx(whole.mask[:, i].mean())
        for host in found.by_host:
            at = whole.host_id == host
            assert facts.observed_by_host[host] == pytest.approx(whole.mask[at, i].mean())
            values = means.x[at, means.names.index(f"{facts.channel}:mean")]
            assert facts.quantiles[host] == pytest.approx(np.nanquantile(values, (0.01, 0.25, 0.5, 0.75, 0.99)))


def test_describe_over_a_sample_is_close_to_describe_over_all(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = describe(dataset)
    monkeypatch.setattr("trainer.dataset.describe.SAMPLE", 400)
    some = describe(dataset)
    assert some.sampled == 322  # every third
    assert some.windows == 964
    name = "pc-half"
    assert some.channels[0].drift[name] == pytest.approx(whole.channels[0].drift[name], abs=0.3)


def naive_index(found: list[float], expected: list[float]) -> float:
    """Decile by decile."""
    known = sorted(value for value in expected if value == value)
    edges = sorted(set(np.quantile(known, [k / 10 for k in range(1, 10)]).tolist())) if known else []

    def shares(values: list[float]) -> list[float]:
        counts = [0.5] * (len(edges) + 2)
        for value in values:
            at = len(edges) + 1 if value != value else sum(value >= edge for edge in edges)
            counts[at] += 1
        return [count / sum(counts) for count in counts]

    return float(sum((p - q) * np.log(p / q) for p, q in zip(shares(found), shares(expected), strict=True)))


numbers = st.lists(st.one_of(st.integers(-5, 5).map(float), st.just(float("nan"))), min_size=1, max_size=60)


@given(numbers, numbers)
def test_stability_index_equals_the_naive_reference(found: list[float], expected: list[float]) -> None:
    index = stability_index(np.array(found, np.float32), np.array(expected, np.float32))
    assert index == pytest.approx(naive_index(found, expected))
    assert index >= 0


def test_stability_index_is_nothing_for_the_same_and_large_for_another_sample() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=5000).astype(np.float32) for _ in range(2))
    assert stability_index(one, other) < 0.02
    assert stability_index(one + 1, other) > 0.5


def test_tables_name_what_has_drifted(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    found = describe(dataset)
    print_description(found)
    said = capsys.readouterr().out
    assert "guest.interrupts" in said
    assert "964 windows, 21 episodes" in said
    assert worst_drift(found)[0][:2] == ("guest.interrupts", "micro-1")


@pytest.fixture(scope="module")
def page(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "description.html"
    write_page(path, describe(dataset), judge(dataset), dataset.schema, {"rejected": 3}, "corpus <&>")
    return path


def test_page_stands_alone_and_escapes_what_it_prints(page: Path, dataset: Dataset, tmp_path: Path) -> None:
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', text)  # plots refer to the page itself, and carry their pixels
    assert "<script" not in text
    assert "corpus &lt;&amp;&gt;" in text
    assert "3 rejected" in text
    assert "Never recorded: cpu-saturate on arm-1" in text
    assert text.count("<svg") == 5
    write_page(
        tmp_path / "again.html", describe(dataset), judge(dataset), dataset.schema, {"rejected": 3}, "corpus <&>"
    )
    assert (tmp_path / "again.html").read_text() == text


@pytest.mark.system
def test_page_renders_in_a_real_browser(page: Path, tmp_path: Path) -> None:
    """Chromium draws it: five plots of a sensible size, all text in place."""
    script = (
        "<script>addEventListener('load', () => { const sizes = [...document.querySelectorAll('svg')].map(s => "
        "Math.round(s.getBoundingClientRect().height)); document.title = sizes.join(' '); });</script></body>"
    )
    measured = tmp_path / "measured.html"
    measured.write_text(page.read_text().replace("</body>", script))
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    more = ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [str(program("chromium")), *quiet, *more, "--virtual-time-budget=5000", "--dump-dom", measured.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>([\d ]+)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    heights = [int(height) for height in title[1].split()]
    assert len(heights) == 5
    assert all(80 < height < 4000 for height in heights), heights
