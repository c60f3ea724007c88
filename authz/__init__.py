"""Runtime authorization for AI agents: an Envoy external authorization server. See `authz.pipeline` for the story."""

__version__ = "0.1.0"
