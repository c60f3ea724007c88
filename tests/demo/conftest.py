"""What the tests of the demo share."""

from tests.support.envoy import yard

__all__ = ["yard"]
