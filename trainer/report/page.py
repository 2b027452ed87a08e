"""`trainer report`: an evaluation as one self-contained page for people, and as one JSON file for programs."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np

from contracts.events.payloads import Interval
from contracts.files import write_file
from trainer.compile.compilation import Compilations
from trainer.evaluate.figures import Evaluation, Group, ModelRecord, RecipeRecord
from trainer.report import charts
from trainer.report.artifacts import artifacts_section
from trainer.report.pitfalls import answers
from trainer.report.plots import heat_map

PAGE = "report.html"


def write_report(evaluation: Evaluation, compilations: Compilations | None, out: Path) -> Path:
    """`report.html`, whose path is returned, and `report.json` beside it. Raises `StorageError`.

    compilations: what was compiled, if anything was; of other fits it is left out.
    """
    if compilations is not None and compilations.fits != evaluation.fits:
        compilations = None
    source = resources.files("trainer.report").joinpath("report.html").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    template.globals.update(
        interval=in_words, seconds=_seconds, share=_share, rate=functools.partial(in_words, form=".1f")
    )
    page = template.render(
        e=evaluation,
        recipes=[_view(evaluation, recipe) for recipe in evaluation.recipes],
        artifacts=artifacts_section(compilations) if compilations else "",
    )
    write_file(out / PAGE, page.encode())
    figures = msgspec.structs.asdict(evaluation)
    if compilations is not None:
        figures["candidates"] = compilations.models
    write_file(out / "report.json", msgspec.json.format(msgspec.json.encode(figures), indent=1))
    return out / PAGE


def in_words(interval: Interval | None, form: str = ".3f") -> str:
    """`0.751 [0.682, 0.817]`, or a dash."""
    return "–" if interval is None else interval.shown(form)


def _seconds(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    high = "∞" if interval.high is None else f"{interval.high:.0f}"
    return f"{interval.value:.1f} s" + ("" if interval.low is None else f" [{interval.low:.0f}, {high}]")


def _share(interval: Interval) -> str:
    """In per cent."""
    low, high = (None if end is None else 100 * end for end in (interval.low, interval.high))
    return Interval(value=100 * interval.value, low=low, high=high).shown(".1f")


def _view(evaluation: Evaluation, recipe: RecipeRecord) -> dict[str, Any]:
    """What the page shows of one recipe, figures and pictures."""
    models, leaks = recipe.models, recipe.leaks
    chance = 1 / len(evaluation.classes)
    titles = [model.title for model in models]
    purities = list(dict.fromkeys(name for model in models for name in model.by_purity))
    profiles = sorted({name for model in models for name in model.per_profile})
    hosts = sorted({name for model in models for name in model.per_host})
    sources = list(dict.fromkeys(name for model in models for name in model.sources))
    classes = [name for name in evaluation.classes if any(name in model.per_class for model in models)]
    return {
        "r": recipe,
        "best": models[0],
        "steady": next((model for model in models if model.steady_macro_f1 is not None), None),
        "holding": [pair for pair in recipe.pairs if pair.p_holm is not None and pair.p_holm < 0.05],
        "leaderboard": charts.leaderboard(models, leaks.elapsed_time_alone, chance),
        "creeping": charts.creeping(leaks.creeping, leaks.elapsed_time_alone, models[0], chance),
        "pairs": charts.pairs(recipe.pairs, titles) if recipe.pairs else "",
        "gaps": charts.gaps(recipe.gaps) if recipe.gaps else "",
        "per_class": _table(models, classes, lambda model, name: model.per_class.get(name)),
        "per_profile": _table(models, profiles, lambda model, name: _of(model.per_profile, name)),
        "per_host": _table(models, hosts, lambda model, name: _of(model.per_host, name)),
        "by_purity": _table(models, purities, lambda model, name: _of(model.by_purity, name)),
        "purity_windows": {
            name: max(m.by_purity[name].windows for m in models if name in m.by_purity) for name in purities
        },
        "profile_facts": {name: models[0].per_profile[name] for name in profiles},
        "curves": charts.curves(models),
        "confusions": {model.title: _confusion(model) for model in models},
        "calibrations": {model.title: charts.calibration(model) for model in models},
        "risk": charts.risk_coverage(models),
        "delays": charts.delays(models) if any(m.alarms and m.alarms.onsets for m in models) else "",
        "alarmed": [model for model in models if model.alarms is not None],
        "operating": charts.operating(models) if any(model.curve for model in models) else "",
        "alarm_profiles": sorted({name for m in models if m.alarms is not None for name in m.alarms.per_profile}),
        "left_out": sorted({name for one in recipe.unfamiliar.values() for name in one.left_out}),
        "sources": sources,
        "channels": {model.title: charts.channels(model) for model in models if model.channels},
        "pitfalls": answers(evaluation, recipe),
        "seeds": len(evaluation.seeds) > 1,
        "spread": {model.title: float(np.std(list(model.by_seed.values()))) for model in models},
    }


def _of(groups: dict[str, Group], name: str) -> Interval | None:
    return groups[name].macro_f1 if name in groups else None


def _table(models: list[ModelRecord], columns: list[str], cell: Any) -> str:
    values = np.array([[np.nan if (f := cell(m, c)) is None else f.value for c in columns] for m in models], float)
    return heat_map([model.title for model in models], columns, values.reshape(len(models), -1), form="{:.2f}", top=1.0)


def _confusion(model: ModelRecord) -> str:
    """Shares of each true class, with the counts."""
    counts = np.array(model.confusion, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return heat_map(model.labels, model.labels, shares, form="{:.2f}", top=1.0, square=True)
