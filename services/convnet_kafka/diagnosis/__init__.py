"""What an operator looks with: `top`, `doctor` and `trace`. They ask, and never change anything.

Nothing that serves images imports from here.
"""
