"""Live input: class probabilities while the samples arrive; the last ones equal those of the whole recording.

``batch`` computes many streams as one batch. ``classifier`` is a run's encoder, head and classes for that.
``session`` is one stream in Python: samples in, messages out; ``events`` makes the messages, which ``WS /stream``
sends too. ``tracker`` turns any class probabilities into labelled segments. ``lite`` runs a fitted head and its
features in NumPy alone, without torch.
"""
