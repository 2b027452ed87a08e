"""Windows one after the other -> phase and alarm. The trainer judges models by this very code.

seam.py       what an alarm is told, and what it says
forward.py    the filter of a bundle: a hidden Markov model's forward pass
in_a_row.py   the rule of older bundles: two infected windows in a row
chosen.py     which of them a bundle asks for
"""

from edge.alarm.chosen import alarm_of
from edge.alarm.forward import Forward
from edge.alarm.in_a_row import InARow
from edge.alarm.seam import Alarm, Heard, Seen

__all__ = ["Alarm", "Forward", "Heard", "InARow", "Seen", "alarm_of"]
