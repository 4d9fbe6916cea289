"""People without a screen: they register, call each other and really talk, and say what they heard and saw of whom.

Usable to try any server: `python -m tests.participant call --people 3 --seconds 20 http://127.0.0.1:8080`.
"""
