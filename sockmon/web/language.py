"""In which language a client wants its answer: the parameter `lang`, else Accept-Language."""

from starlette.requests import Request

from sockmon.language import LANGUAGES, Language


def wanted(request: Request) -> Language:
    """Return the language of an answer; raises ValueError if the parameter is none that exists."""
    named = request.query_params.get("lang")
    if named is None:
        return preferred(request.headers.get("accept-language", ""))
    for language in LANGUAGES:
        if language == named:
            return language
    raise ValueError(f"lang: expected {' or '.join(LANGUAGES)}")


def preferred(accepted: str) -> Language:
    """Return the best of what Accept-Language has (RFC 9110, 12.5.4): by weight, then by place."""
    weighed: list[tuple[float, int, Language]] = []
    for place, item in enumerate(accepted.split(",")[:20]):
        tag, _, weight = item.partition(";")
        spoken = tag.strip().lower().split("-")[0]
        weighed += [(-_weight(weight), place, known) for known in LANGUAGES if known == spoken]
    best = min(weighed, default=None)
    return best[2] if best is not None and best[0] < 0 else "en"


def _weight(text: str) -> float:
    """q=0.8 -> 0.8; nothing is 1, nonsense is 0."""
    name, _, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name == "q" else 0.0
    except ValueError:
        return 0.0
