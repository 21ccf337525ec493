"""Classifiers: members of the lanes' consumer groups that turn images into labels.

`service.py` starts and stops everything; `pipeline.py` is the one loop; the rest is what the loop uses.
"""
