"""Labels that people give to hits: kept durably, chosen next, learnt from by a refit, and used at once as feedback.

``journal`` keeps them, ``merged`` says what several annotators agree on, ``choosing`` picks the next queries,
``feedback`` moves a query, ``refit`` fits the heads on, ``accepting`` puts them into the run and takes them out again.
"""
