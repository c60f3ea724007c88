"""What holds with every Workload API holds with SPIRE's: the contract, with a real agent."""

from tests.svid_sources.test_workload_api_contract import (
    test_a_lost_workload_api_counts_for_the_declared_staleness_and_no_longer,
    test_a_rotated_svid_is_shown,
    test_only_wanted_trust_domains_are_taken,
    test_our_own_svid_is_proven_by_our_trust_domains_bundle,
    test_the_first_update_holds_every_wanted_trust_domain,
    test_without_a_workload_api_nothing_is_believed_until_it_comes,
)

__all__ = [
    "test_a_lost_workload_api_counts_for_the_declared_staleness_and_no_longer",
    "test_a_rotated_svid_is_shown",
    "test_only_wanted_trust_domains_are_taken",
    "test_our_own_svid_is_proven_by_our_trust_domains_bundle",
    "test_the_first_update_holds_every_wanted_trust_domain",
    "test_without_a_workload_api_nothing_is_believed_until_it_comes",
]
