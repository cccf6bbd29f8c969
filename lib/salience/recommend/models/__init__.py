"""Recommenders behind one interface: fit on weighted pairs, score and explain within tasks, save and load."""
