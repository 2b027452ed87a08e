"""The ten pitfalls of Arp et al., Dos and Don'ts of Machine Learning in Computer Security (USENIX Security 2022),
each answered for one build from its own figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.vocabulary import CLEAN
from trainer.evaluate.figures import Evaluation, RecipeRecord


@dataclass(frozen=True)
class Answer:
    """held: whether the pitfall was kept clear of; False where it was not, None where it is for the reader to judge."""

    name: str
    held: bool | None
    text: str


def answers(evaluation: Evaluation, recipe: RecipeRecord) -> list[Answer]:
    """In the paper's order, P1 to P10."""
    return list(_answers(evaluation, recipe))


def _answers(evaluation: Evaluation, recipe: RecipeRecord) -> Iterator[Answer]:
    split, leaks, best = recipe.split, recipe.leaks, recipe.models[0]
    train, test = split.sides["train"], split.sides["test"]
    untested = ", ".join((*split.untested_profiles, *split.untested_classes))
    yield Answer(
        "P1 Sampling bias",
        None,
        f"{evaluation.episodes} episodes, of them {train.episodes} on {', '.join(train.hosts)} to learn from and "
        f"{test.episodes} on {', '.join(test.hosts)} to test on."
        + (f" Never tested: {untested}." if untested else "")
        + " Whether these stand for the guests that you will watch, no figure here can say.",
    )
    pure = best.by_purity.get("one phase")
    yield Answer(
        "P2 Label inaccuracy",
        None,
        "A window carries the label of its middle."
        + (
            f" Where a window lies in one phase {best.title} reaches {pure.macro_f1.value:.3f}, over all "
            f"{best.macro_f1.value:.3f}; windows across a boundary are scored apart."
            if pure
            else ""
        )
        + ("" if evaluation.arrays else " Labels mark when a phase was commanded, not when its effects fade."),
    )
    yield Answer(
        "P3 Data snooping",
        True,
        f"Split by whole episodes ({split.recipe}); normalisation, early stopping, temperatures, thresholds"
        + (" and settings" if evaluation.tuned else "")
        + " come from the training and validation sides; channels that creep are named by the training side."
        + ("" if evaluation.arrays else " A window holds only what had arrived by its end and settling time.")
        + _seen(recipe),
    )
    elapsed = leaks.elapsed_time_alone
    explained = bool(leaks.warnings)
    steady = next((model for model in recipe.models if model.steady_macro_f1 is not None), None)
    yield Answer(
        "P4 Spurious correlations",
        not explained,
        f"Elapsed time alone reaches {elapsed.value:.3f}, the best model {best.macro_f1.value:.3f}."
        + (
            f" Without the {len(leaks.creeping)} channels that creep or warm up {steady.title} reaches "
            f"{steady.steady_macro_f1.value:.3f}."
            if steady is not None and steady.steady_macro_f1 is not None
            else ""
        )
        + (" The score may come from the order of the phases: see the leak check." if explained else ""),
    )
    yield Answer(
        "P5 Biased parameter selection",
        True if evaluation.tuned or evaluation.arrays else None,
        (
            "Settings were tried on validation alone, recipe by recipe."
            if evaluation.tuned
            else "Settings are the defaults, not tried here."
        )
        + (
            ""
            if evaluation.arrays
            else " The defaults themselves were developed on the recordings that come with the project, each of "
            "their hosts"
            " held out in turn: on those, scores are a little too good."
        )
        + " The held-out side was looked at once, after all fits; the leaderboard's order is by it, so its first "
        "line is a"
        " little too good.",
    )
    simple = next((model for model in recipe.models if model.architecture == "gbt"), None)
    yield Answer(
        "P6 Inappropriate baseline",
        simple is not None,
        f"Beside the nets stand boosted trees on six statistics per channel ({simple.macro_f1.value:.3f}), elapsed "
        "time "
        f"alone, each doubtful channel alone, and chance ({1 / len(evaluation.classes):.2f})."
        if simple
        else "No simple model was fitted beside the nets: add gbt to --architectures.",
    )
    yield Answer(
        "P7 Inappropriate performance measures",
        True,
        "Macro F1, since classes differ in size, with intervals by episode; per class, profile and host; "
        "calibration; and"
        " what an operator sees: share found, delay, false alarms a clean day, true positives at 1 % false positives."
        if best.detection
        else "Macro F1, since classes differ in size, with intervals by episode; per class, group and host; "
        "calibration.",
    )
    clean = test.phases.get(CLEAN)
    alarms = best.alarms
    yield Answer(
        "P8 Base rate fallacy",
        None,
        (
            f"{clean / max(1, test.windows):.0%} of the held-out windows are clean; in the field nearly all are. "
            if clean is not None
            else "The classes' shares here need not be those in the field. "
        )
        + (
            f"False alarms were counted over {alarms.clean_hours * 60:.0f} clean minutes only, which allow up to "
            f"{alarms.at_most_per_day or 0:.0f} a day: far too few for a rate that one could live with for a year."
            if alarms
            else ""
        ),
    )
    yield Answer(
        "P9 Lab-only evaluation",
        None if evaluation.arrays else False,
        "Whether these recordings are like the field, only those who made them can say."
        if evaluation.arrays
        else "All recordings are of one kind of lab, replayed through the agent's own extraction. Nothing here was "
        "measured on"
        " guests in the field.",
    )
    yield Answer(
        "P10 Inappropriate threat model",
        None,
        "Realistic models see only what the host measures; oracle models also believe the guest, which malware may "
        "forge."
        " No adversary who knows the model and hides from it was tried.",
    )


def _seen(recipe: RecipeRecord) -> str:
    """What of the test side was learned from elsewhere."""
    seen = recipe.split.seen_samples
    if not seen or recipe.split.recipe == "held_out_sample":
        return ""
    what = {"held_out_host": "host", "held_out_time": "time"}[recipe.split.recipe]
    return f" {len(seen)} samples of the test side were also learned from: what is new is the {what}, not the variant."
