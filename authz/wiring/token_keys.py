"""The keys of tokens, for the command that rotates them."""

from pathlib import Path

from authz.config import load_settings
from authz.core.errors import Place, Problem, Unusable
from authz.tasks.token_keys import TokenKeys


def rotate(config_file: Path, signs_after_seconds: float) -> str:
    """Add a key to the file that the configuration names; returns its id. Raises Unusable."""
    token = load_settings(config_file).tasks.token
    if token is None:
        problem = Problem(Place(config_file), "no token keys are configured", "Set tasks.token.keys_file.")
        raise Unusable(problem)
    keys = TokenKeys(token.keys_file)
    return keys.rotate(publish_ahead_seconds=signs_after_seconds, honoured_seconds=token.max_lifetime_seconds)
