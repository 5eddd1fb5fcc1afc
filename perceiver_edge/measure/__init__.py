"""How fast a model is here: in this process, in processes of its own, side by side, operator by operator, on a phone.

Knows engines and nothing of how a model was made.
"""
