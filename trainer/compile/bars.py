"""What a candidate must reach (docs/adr/0019)."""

from __future__ import annotations

AGREEMENT = 0.95
"""Of decisions: what decides unlike its model on more than one window of twenty is another model, however good. What
the report says of the model (alarms, sources, channels) is then not said of it. Our own bar, beyond the design's."""
MARGIN = 0.01
"""Of macro F1: the lower end of the paired 95 % interval lies above one point less. From one held-out episode there is
no interval, and the value itself is taken: the report says so."""
TAIL_MARGIN = 0.05
"""Of the true positive rate at 1 % false positives, likewise; it depends on the worst of a few dozen clean windows."""
CALIBRATION_MARGIN = 0.02
"""Of the expected calibration error, each after its own temperature."""
EXACT = 1e-5
"""How far an artifact may be off that computes what its model computes."""
