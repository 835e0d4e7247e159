"""Typed claims: what operators, accounts, users, activations and auth callouts say about themselves and others."""

from auth.claims.account import (
    AccountClaims,
    AccountData,
    ExternalAuthorization,
    JetStreamLimits,
    MessageTrace,
    OperatorLimits,
    UserScope,
    WeightedMapping,
)
from auth.claims.activation import ActivationClaims, ActivationData
from auth.claims.authorization import (
    AuthorizationRequestClaims,
    AuthorizationRequestData,
    AuthorizationResponseClaims,
    AuthorizationResponseData,
)
from auth.claims.base import UNLIMITED, Claims, Issue, IssueLevel, add_tags, blocking, remove_tags
from auth.claims.exchange import Export, Import, ServiceLatency
from auth.claims.generic import GenericClaims
from auth.claims.operator import OperatorClaims, OperatorData
from auth.claims.permissions import Permission, Permissions, ResponsePermission, TimeRange, UserPermissionLimits
from auth.claims.user import UserClaims, UserData

__all__ = [
    "UNLIMITED",
    "AccountClaims",
    "AccountData",
    "ActivationClaims",
    "ActivationData",
    "AuthorizationRequestClaims",
    "AuthorizationRequestData",
    "AuthorizationResponseClaims",
    "AuthorizationResponseData",
    "Claims",
    "Export",
    "ExternalAuthorization",
    "GenericClaims",
    "Import",
    "Issue",
    "IssueLevel",
    "JetStreamLimits",
    "MessageTrace",
    "OperatorClaims",
    "OperatorData",
    "OperatorLimits",
    "Permission",
    "Permissions",
    "ResponsePermission",
    "ServiceLatency",
    "TimeRange",
    "UserClaims",
    "UserData",
    "UserPermissionLimits",
    "UserScope",
    "WeightedMapping",
    "add_tags",
    "blocking",
    "remove_tags",
]
