"""Documents of orders: handed in by whoever orders, accepted or rejected by a reviewer. Never interpreted here."""

from __future__ import annotations

import hashlib
import re

from msgspec.structs import replace

from ca_core.clock import Clock
from policy.access import Actor
from policy.approval import check_foreign
from policy.audit import AuditEvent, AuditTag
from policy.catalogue import Catalogue
from policy.credential import Principal
from policy.dossier import Document, DocumentStatus, Dossier, completed
from policy.ids import new_id
from policy.order import Order, OrderStatus
from policy.ordering import Ordering
from policy.people import owned_through
from policy.problems import Malformed, NotReady, OrderConflict, TooLarge, UnknownOrder, UnsupportedMedia
from policy.product import DocumentRule
from policy.store import DOCUMENT, Store, Unit

MAX_DOCUMENTS = 20
"""Of one order, rejected ones included: enough to hand a paper in again a few times."""
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,200}")


class Documents:
    """Takes documents in, gives them out, and writes down what a reviewer said of them."""

    def __init__(self, store: Store, catalogue: Catalogue, ordering: Ordering, clock: Clock) -> None:
        self._store = store
        self._catalogue = catalogue
        self._ordering = ordering
        self._clock = clock

    async def receive(
        self, principal: Principal, order: Order, type: str, name: str, media_type: str, content: bytes
    ) -> tuple[Order, Document]:
        """Keep a document with its order. Raises Malformed, TooLarge, UnsupportedMedia, NotReady."""
        if order.status not in (OrderStatus.DRAFT, OrderStatus.PENDING):
            raise NotReady(f'the order is "{order.status}": it takes no documents any more')
        rule = await self._rule(order, type)
        if media_type not in rule.media_types:
            raise UnsupportedMedia(f'a document of type "{type}" is one of {", ".join(rule.media_types)}')
        if len(content) > rule.max_bytes:
            raise TooLarge(f'a document of type "{type}" has {rule.max_bytes} octets at most, not {len(content)}')
        if not content or _NAME.fullmatch(name) is None:
            raise Malformed("a document has a content, and a file name without slashes and control characters")
        dossier = order.dossier or Dossier()
        if len(dossier.documents) >= MAX_DOCUMENTS:
            raise OrderConflict(f"an order has {MAX_DOCUMENTS} documents at most")
        now, actor = self._clock(), str(principal.requester)
        digest = hashlib.sha256(content).hexdigest()
        document = Document(new_id(), type, name, media_type, len(content), digest, now, actor)
        unit = Unit()
        unit.credential_active(order.credential, now)
        unit.put_document(document.id, order.id, content)
        detail = {"document": document.id, "type": type, "size": document.size, "sha256": digest}
        unit.audit(AuditEvent(AuditTag.DOCUMENT_RECEIVED, now, actor, f"order:{order.id}", detail))
        whole = replace(dossier, documents=(*dossier.documents, document))
        return await self._ordering.settle(order, unit, dossier=completed(whole)), document

    async def _rule(self, order: Order, type: str) -> DocumentRule:
        product = await self._catalogue.product_version(order.product, order.product_version)
        for rule in product.documents:
            if rule.type == type:
                return rule
        wanted = ", ".join(one.type for one in product.documents) or "none"
        raise Malformed(f'product "{product.name}" takes no document of type "{type}"; it takes: {wanted}')

    async def content(self, order: Order, document_id: str) -> tuple[Document, bytes]:
        """A document as it was handed in. Raises UnknownOrder."""
        document = (order.dossier or Dossier()).document(document_id)
        content = await self._store.one(DOCUMENT, document_id, order.id)
        if content is None:
            raise UnknownOrder(f"the order has no document {document_id}")
        return document, content

    async def review(self, order: Order, document_id: str, actor: Actor, *, accept: bool, why: str = "") -> Order:
        """Accept or reject a document; the order goes on when nothing is owed any more.

        Raises UnknownOrder, NotReady, Forbidden (who handed it in), Malformed for a rejection without a reason.
        """
        dossier = order.dossier or Dossier()
        document = dossier.document(document_id)
        owned = await owned_through(self._store, order.credential)
        actor.find("order:review", order, owned, UnknownOrder(f"there is no order {order.id}"))
        await check_foreign(self._store, order, owned, actor)
        if document.status is not DocumentStatus.WAITING:
            raise NotReady(f"the document was {document.status} already")
        if not accept and not why.strip():
            raise Malformed("say why the document is rejected")
        now = self._clock()
        status = DocumentStatus.ACCEPTED if accept else DocumentStatus.REJECTED
        reviewed = replace(document, status=status, reviewer=actor.name, reviewed=now, why=why.strip() or None)
        documents = tuple(reviewed if one.id == document_id else one for one in dossier.documents)
        tag = AuditTag.DOCUMENT_ACCEPTED if accept else AuditTag.DOCUMENT_REJECTED
        detail = {"document": document_id, "type": document.type, "sha256": document.sha256, "why": why.strip()}
        unit = Unit()
        unit.audit(AuditEvent(tag, now, actor.name, f"order:{order.id}", detail))
        return await self._ordering.settle(order, unit, dossier=completed(replace(dossier, documents=documents)))
