"""The campaign: what is done to tranship to see it break. One module a family of parts; `tools/torture.py` runs them at length,
and `tests/faults/test_campaign.py` a few rounds of each.

A part is a function that gets a `Box` (a seed, a folder, a time box or a number of rounds), does harm over and over, checks after
each harm that nothing was lost, and counts both. A break is counted and described, and the part goes on.
"""
