"""Six ways to make models, behind one seam.

architecture.py   the seam: an architecture fits, a model predicts
names.py          what they are called
named.py          the list of them
gbt.py            boosted trees, on summaries
net.py            what the five nets share: one loop (training/), and being kept as arrays
inputs.py         what every net does first, inside its graph
mlp.py            on summaries
cnn.py            on tensors, as the rest
recurrent.py      what gru.py and lstm.py share
transformer.py    one block of attention
"""
