"""Every reason for which a hop can be denied: its id, the HTTP status it becomes, and what it means.

The enum is closed: ids are stable, appear on the wire, in traces and in the audit record, and are documented in
`docs/reasons.md`. The status follows the fault: 400 a malformed or ambiguous request, 401 a missing or unproven
credential, 403 a proven caller who may not, 429 one who has had enough, 503 our own trouble.
"""

from enum import Enum


class Reason(Enum):
    """A stable reason id with its HTTP status and its meaning for a person who reads the audit record."""

    REQUEST_MALFORMED = ("request_malformed", 400, "The check could not be read as a CheckRequest.")
    REQUEST_NOT_HTTP = ("request_not_http", 400, "The check names no HTTP request, as from Envoy's TCP filter.")
    METHOD_AMBIGUOUS = ("method_ambiguous", 400, "The method has a strange form, or a header overrides it.")
    HOST_AMBIGUOUS = ("host_ambiguous", 400, "The host is missing, given twice, or not in its strict form.")
    PATH_MISSING = ("path_missing", 400, "The request has no path, as with CONNECT.")
    PATH_AMBIGUOUS = ("path_ambiguous", 400, "Upstream and we could read this path differently.")
    QUERY_AMBIGUOUS = ("query_ambiguous", 400, "A query parameter that counts could be read in more than one way.")
    BODY_MISSING = ("body_missing", 400, "The body decides what is attempted, and Envoy passed none on.")
    BODY_INCOMPLETE = ("body_incomplete", 400, "The body decides what is attempted, and not all of it is here.")
    BODY_ENCODED = ("body_encoded", 400, "The body decides what is attempted, and it is compressed.")
    BODY_TYPE = ("body_type", 400, "The content type is not that of what the catalog expects.")
    BODY_MALFORMED = ("body_malformed", 400, "The body is not what its content type says.")
    BODY_AMBIGUOUS = ("body_ambiguous", 400, "Upstream and we could read this body differently.")
    BATCH_REFUSED = ("batch_refused", 400, "The body holds several messages, and each needs a decision of its own.")
    MESSAGE_MALFORMED = ("message_malformed", 400, "The body is not a message of the protocol that is spoken here.")
    MESSAGE_AMBIGUOUS = ("message_ambiguous", 400, "The message does not name exactly one operation.")
    HEADER_MISMATCH = ("header_mismatch", 400, "A header and the body do not agree on what is attempted.")
    PROTOCOL_VERSION = ("protocol_version", 400, "The version of the protocol is not one that is understood here.")
    ARGUMENT_MALFORMED = ("argument_malformed", 400, "An argument that policies see is missing, or not of its kind.")
    TASK_HEADER_REPEATED = ("task_header_repeated", 400, "The task header holds more than one value.")
    TASK_ID_MALFORMED = ("task_id_malformed", 400, "The task header is not a task id.")

    IDENTITY_MISSING = ("identity_missing", 401, "The check does not say who calls.")
    CERTIFICATE_MISSING = ("certificate_missing", 401, "Envoy named a principal but did not pass its certificate.")
    CERTIFICATE_MALFORMED = ("certificate_malformed", 401, "The certificate could not be parsed.")
    SVID_URI_SAN_COUNT = ("svid_uri_san_count", 401, "An X509-SVID has exactly one URI SAN.")
    SPIFFE_ID_MALFORMED = ("spiffe_id_malformed", 401, "What names the caller is not a SPIFFE ID.")
    SVID_WITHOUT_PATH = ("svid_without_path", 401, "A workload's SPIFFE ID has a path.")
    SVID_IS_CA = ("svid_is_ca", 401, "A signing certificate must not authenticate a workload.")
    SVID_KEY_USAGE = ("svid_key_usage", 401, "The key usage is not that of a leaf X509-SVID.")
    SVID_EXTENDED_KEY_USAGE = ("svid_extended_key_usage", 401, "The extended key usage lacks client or server.")
    SVID_SAN_NOT_CRITICAL = ("svid_san_not_critical", 401, "Without a subject, the URI SAN must be critical.")
    TRUST_DOMAIN_UNKNOWN = ("trust_domain_unknown", 401, "There is no trust bundle for the caller's trust domain.")
    SVID_EXPIRED = ("svid_expired", 401, "The certificate is past its validity.")
    SVID_NOT_YET_VALID = ("svid_not_yet_valid", 401, "The certificate is not valid yet.")
    SVID_UNTRUSTED = ("svid_untrusted", 401, "No path leads from the certificate to its trust domain's bundle.")
    PRINCIPAL_MISMATCH = ("principal_mismatch", 401, "Envoy's principal is another than the caller's SPIFFE ID.")
    XFCC_MALFORMED = ("xfcc_malformed", 401, "The header x-forwarded-client-cert cannot be read.")
    XFCC_AMBIGUOUS = ("xfcc_ambiguous", 401, "The header x-forwarded-client-cert does not name exactly one caller.")
    XFCC_OF_ANOTHER_PROXY = ("xfcc_of_another_proxy", 401, "x-forwarded-client-cert is not by the Envoy that asks.")
    JWT_MISSING = ("jwt_missing", 401, "The caller sent no JWT-SVID, and one is required.")
    JWT_REPEATED = ("jwt_repeated", 401, "The header of the JWT-SVID holds more than one value.")
    JWT_MALFORMED = ("jwt_malformed", 401, "The token cannot be read as a JWT in compact form.")
    JWT_HEADER_NOT_ALLOWED = ("jwt_header_not_allowed", 401, "The token's header is not that of a JWT-SVID.")
    JWT_ALGORITHM = ("jwt_algorithm", 401, "The token's algorithm is not one of JWT-SVIDs, or does not fit the key.")
    JWT_CLAIM_MISSING = ("jwt_claim_missing", 401, "A JWT-SVID has the claims sub, aud and exp.")
    JWT_KEY_UNKNOWN = ("jwt_key_unknown", 401, "The trust domain's bundle has no key of the token's key id.")
    JWT_UNTRUSTED = ("jwt_untrusted", 401, "The token's signature is not by the key that it names.")
    JWT_FOR_ANOTHER_AUDIENCE = ("jwt_for_another_audience", 401, "The token is not meant for us.")
    JWT_EXPIRED = ("jwt_expired", 401, "The token is past its validity.")
    JWT_NOT_YET_VALID = ("jwt_not_yet_valid", 401, "The token is not valid yet.")
    JWT_OF_ANOTHER_WORKLOAD = ("jwt_of_another_workload", 401, "The token names another workload than the caller.")

    TOKEN_REPEATED = ("token_repeated", 400, "The header of the transaction token holds more than one value.")
    TOKEN_MALFORMED = ("token_malformed", 401, "The transaction token cannot be read as a JWT in compact form.")
    TOKEN_HEADER_NOT_ALLOWED = ("token_header_not_allowed", 401, "The token's header is not that of a Txn-Token.")
    TOKEN_ALGORITHM = ("token_algorithm", 401, "The token's algorithm is not allowed, or does not fit the key.")
    TOKEN_KEY_UNKNOWN = ("token_key_unknown", 401, "No key of ours has the token's key id.")
    TOKEN_UNTRUSTED = ("token_untrusted", 401, "The token's signature is not by the key that it names.")
    TOKEN_CLAIM_MISSING = ("token_claim_missing", 401, "A claim that every Txn-Token has is missing or malformed.")
    TOKEN_OF_ANOTHER_DOMAIN = ("token_of_another_domain", 401, "The token is not for our trust domain.")
    TOKEN_EXPIRED = ("token_expired", 401, "The token is past its validity.")
    TOKEN_FROM_THE_FUTURE = ("token_from_the_future", 401, "The token was issued later than now.")
    TOKEN_LIVES_TOO_LONG = ("token_lives_too_long", 401, "The token's lifetime is above the configured cap.")
    TOKEN_OF_ANOTHER_AGENT = ("token_of_another_agent", 403, "The token names another agent than the caller.")
    TOKEN_OF_ANOTHER_TASK = ("token_of_another_task", 403, "The token and the task that is named do not agree.")
    TASK_MISSING = ("task_missing", 403, "The request names no task.")
    TASK_UNKNOWN = ("task_unknown", 403, "There is no such task.")
    TASK_OF_ANOTHER_AGENT = ("task_of_another_agent", 403, "The task does not name the caller as its agent.")
    TASK_NOT_STARTED = ("task_not_started", 403, "The task's time has not begun.")
    TASK_EXPIRED = ("task_expired", 403, "The task's time is over.")
    TASK_ENDED = ("task_ended", 403, "The task was ended.")
    TASK_SUSPENDED = ("task_suspended", 403, "The task is suspended.")
    TASK_IDLE = ("task_idle", 403, "The task's session rested for too long.")
    DELEGATION_WIDENS = ("delegation_widens", 403, "What is delegated would be wider than the task that delegates.")
    DELEGATION_TOO_DEEP = ("delegation_too_deep", 403, "The task may not be delegated further.")
    DELEGATION_LOOPS = ("delegation_loops", 403, "An agent of the new task works on a task above it already.")
    TASK_TOO_LONG = ("task_too_long", 403, "A task may not live for so long.")
    ACCESS_REQUEST_UNKNOWN = ("access_request_unknown", 403, "There is no such access request.")
    APPROVAL_UNASKED = ("approval_unasked", 403, "The access request does not ask for this kind of approval.")
    APPROVAL_DENIED = ("approval_denied", 403, "Somebody who was asked for an approval said no.")
    APPROVAL_OF_ONES_OWN = ("approval_of_ones_own", 403, "Nobody approves what they asked for themselves.")
    ACTION_UNKNOWN = ("action_unknown", 403, "No entry of the catalog matches the request.")
    ACTION_UNSET = ("action_unset", 403, "The catalog's entry for the request is a draft that is not filled in.")
    ACTION_NOT_GRANTED = ("action_not_granted", 403, "No grant of the task covers the action on this dataset.")
    SENSITIVITY_ABOVE_CEILING = ("sensitivity_above_ceiling", 403, "The data are above the task's ceiling.")
    POLICY_FORBIDS = ("policy_forbids", 403, "A policy forbids it.")
    STEP_UP_REQUIRED = ("step_up_required", 403, "A policy asks for an approval first.")
    POLICY_PERMITS_NOTHING = ("policy_permits_nothing", 403, "No policy permits it.")

    BUDGET_EXHAUSTED = ("budget_exhausted", 429, "The task has used up its hops.")
    ACCESS_REQUESTS_EXHAUSTED = ("access_requests_exhausted", 429, "The task asked for too many approvals.")

    ASKER_UNPROVEN = ("asker_unproven", 503, "The Envoy that asks did not prove who it is.")
    ASKER_NOT_ALLOWED = ("asker_not_allowed", 503, "The workload that asks is not on the list of Envoys that may.")
    TRUST_BUNDLES_STALE = ("trust_bundles_stale", 503, "The source of trust bundles has been lost for too long.")
    INTERNAL_ERROR = ("internal_error", 503, "The check failed inside the server.")
    OVERLOADED = ("overloaded", 503, "Too many checks wait for what they lack.")
    CHECK_TIMED_OUT = ("check_timed_out", 503, "The check took longer than its time budget.")
    TASK_STORE_UNAVAILABLE = ("task_store_unavailable", 503, "The task store does not answer, or is too stale.")
    TASK_RECORD_MALFORMED = ("task_record_malformed", 503, "The stored task cannot be read.")
    POLICY_ERROR = ("policy_error", 503, "A policy failed while it was evaluated.")
    POLICY_ENGINE_UNAVAILABLE = ("policy_engine_unavailable", 503, "The policy engine does not answer in time.")
    AUDIT_UNAVAILABLE = ("audit_unavailable", 503, "The answer could not be recorded.")

    def __init__(self, id: str, http_status: int, meaning: str) -> None:
        self.id = id
        self.http_status = http_status
        self.meaning = meaning

    def __str__(self) -> str:
        return self.id
