"""What belongs to an order beside its names and its request: documents, agreement, votes, and wishes for later.

Most orders have none of it, so it is one value that is mostly absent. Documents themselves lie in a table of their own;
here is what was handed in, and what became of it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ca_core.status import RevocationReason
from policy.problems import UnknownOrder


class DocumentStatus(StrEnum):
    """What a reviewer said of a document."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Document(msgspec.Struct, frozen=True):
    """A document as it was handed in; `sha256` is the digest of its content, `size` counts octets."""

    id: str
    type: str
    name: str
    media_type: str
    size: int
    sha256: str
    at: datetime
    by: str
    status: DocumentStatus = DocumentStatus.WAITING
    reviewer: str | None = None
    reviewed: datetime | None = None
    why: str | None = None
    """Why it was rejected; empty for one that was accepted without a word."""


class Agreement(msgspec.Struct, frozen=True):
    """Who agreed to which terms, when and from where."""

    terms: str
    signer: str
    at: datetime
    by: str
    address: str


class Vote(msgspec.Struct, frozen=True):
    """One person's word for a held order."""

    approver: str
    at: datetime


class Dossier(msgspec.Struct, frozen=True):
    """Beside the order. Change it by `completed`, which keeps `complete` true to the rest."""

    required: tuple[str, ...] = ()
    """Types of documents of which the product wants an accepted one each."""
    documents: tuple[Document, ...] = ()
    terms: str | None = None
    """What has to be agreed to; None where the product has no terms."""
    agreement: Agreement | None = None
    votes: tuple[Vote, ...] = ()
    tags: tuple[str, ...] = ()
    automatic: bool = False
    """Whether the server renews the certificate by itself when its window opens."""
    retire: RevocationReason | None = None
    """Why the certificate that this one replaces is revoked once this one is there; None leaves it."""
    complete: bool = True
    """Whether neither a document nor an agreement is owed."""

    @property
    def owed_documents(self) -> tuple[str, ...]:
        """Types of which no document was accepted yet."""
        accepted = {one.type for one in self.documents if one.status is DocumentStatus.ACCEPTED}
        return tuple(one for one in self.required if one not in accepted)

    @property
    def owes_agreement(self) -> bool:
        """Whether somebody has to agree to the terms."""
        return self.terms is not None and (self.agreement is None or self.agreement.terms != self.terms)

    def document(self, document_id: str) -> Document:
        """The document with this identifier. Raises UnknownOrder."""
        for one in self.documents:
            if one.id == document_id:
                return one
        raise UnknownOrder(f"the order has no document {document_id}")


def completed(dossier: Dossier) -> Dossier:
    """The dossier with `complete` as its other fields have it."""
    complete = not dossier.owed_documents and not dossier.owes_agreement
    return dossier if complete == dossier.complete else replace(dossier, complete=complete)


def carried(before: Dossier, into: Dossier, *, same: bool) -> Dossier:
    """`into` with the papers of the draft before. What a reviewer accepted was accepted for what was wanted then:
    unless the `same` is wanted now, it waits for a reviewer again."""
    papers = before.documents if same else tuple(map(_unreviewed, before.documents))
    return completed(replace(into, documents=papers, agreement=before.agreement))


def _unreviewed(document: Document) -> Document:
    if document.status is not DocumentStatus.ACCEPTED:
        return document
    return replace(document, status=DocumentStatus.WAITING, reviewer=None, reviewed=None, why=None)
