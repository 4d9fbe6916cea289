"""Which language the person reads (RFC 9110, section 12.5.4). Chinese unless English is preferred."""

from functools import lru_cache

from server.errors import Language


def preferred(accept_language: str | None) -> Language:
    """By the header of that name, None if it is absent."""
    return _parse(accept_language) if accept_language else Language.CHINESE


@lru_cache(maxsize=256)
def _parse(header: str) -> Language:
    """The best of our two; a range that names neither says nothing."""
    best: dict[str, float] = {}
    for part in header[:512].split(","):
        tag, _, parameters = part.strip().partition(";")
        language = tag.split("-")[0].strip().lower()
        best[language] = max(best.get(language, 0.0), _quality(parameters))
    anything = best.get("*", 0.0)
    english, chinese = best.get("en", anything), best.get("zh", anything)
    return Language.ENGLISH if english > chinese else Language.CHINESE


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
