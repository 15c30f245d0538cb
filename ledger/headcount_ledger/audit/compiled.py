"""To be loaded in a process from which others are forked, if they are to verify very many signatures."""

from headcount_engine import many

many.prepare()
