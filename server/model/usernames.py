"""When two user names are the same name."""

import unicodedata

KEY_LENGTH = 512
"""Longer than the key of any name that may be registered: NFKC makes at most 18 characters of one."""


def username_key(username: str) -> str:
    """What user names are compared by: NFKC, then case folded, then NFKC (folding may undo it; Unicode 3.13, D146),
    without the spaces around it, which MySQL would take for equal too."""
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded).strip()[:KEY_LENGTH].rstrip()
