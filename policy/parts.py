"""What the registration authority is made of; gateway.app puts it together."""

from __future__ import annotations

from dataclasses import dataclass

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from policy.authentication import Authentication
from policy.authorizing import Authorizing
from policy.catalogue import Catalogue
from policy.fulfilment import Fulfilment
from policy.generating import Generating
from policy.limits import Limits
from policy.placing import Placing
from policy.publication import Publication
from policy.refusals import Refusals
from policy.registering import Registering
from policy.renewal import Renewal
from policy.revocation import Revocation
from policy.sealing import Sealing
from policy.service_keys import ServiceKeys
from policy.store import Store
from policy.transactions import Transactions


@dataclass(frozen=True, slots=True)
class Parts:
    """The services behind the one that every protocol calls."""

    store: Store
    catalogue: Catalogue
    ca: CertificateAuthority
    sealing: Sealing
    clock: Clock
    limits: Limits
    refusals: Refusals
    authentication: Authentication
    authorizing: Authorizing
    placing: Placing
    fulfilment: Fulfilment
    generating: Generating
    registering: Registering
    revocation: Revocation
    renewal: Renewal
    publication: Publication
    transactions: Transactions
    service_keys: ServiceKeys
