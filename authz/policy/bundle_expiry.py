"""A Policy around another: once the bundle in force has expired, nothing is permitted."""

from dataclasses import dataclass

from authz.core.decision import Verdict
from authz.core.query import Query
from authz.policy.bundle_source import BundleSource
from authz.policy.result import failed
from authz.ports import Policy


@dataclass(frozen=True, slots=True)
class UntilExpiry:
    """Implements Policy. Whoever signs an end means it: late policies are none."""

    inner: Policy
    bundles: BundleSource

    def decide(self, query: Query) -> Verdict:
        """As the inner policy does, in the bundle's time."""
        if self.bundles.is_over:
            bundle = self.bundles.in_force
            return failed("the policy bundle in force has expired", bundle.digest if bundle else "")
        return self.inner.decide(query)
